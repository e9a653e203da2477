//! Who a bearer of a token is: token text in, `Caller` out.
//!
//! Not here: what a caller may do (`caller.rs`), or making tokens (`tokens.rs`).
//! Invariants: a secret is compared in constant time, as hashes of one length;
//!   a record read before a revocation is never kept after it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bessemer_engine::read;
use bessemer_model::{Millis, ProjectId, TokenId, TokenRecord};
use bessemer_seam::mutants::{self, Mutant};
use subtle::ConstantTimeEq;

use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::Service;

/// How long a record is believed without another look, in log time: a project that was deleted
/// takes its tokens along without naming each.
const RECORD_LIFE: Millis = Millis::from_secs(5);

/// A token's public half and its secret.
pub(crate) struct Secret {
    pub id: TokenId,
    pub bytes: [u8; 32],
}

impl Secret {
    /// Reads `bsm_<16 hex>_<64 hex>`, lower case; anything else is no token.
    pub fn parse(text: &str) -> Option<Secret> {
        let (id, secret) = text.strip_prefix("bsm_")?.split_once('_')?;
        let lower_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if id.len() != 16 || secret.len() != 64 || !lower_hex(id) || !lower_hex(secret) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(secret.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Secret { id: TokenId::new(id), bytes })
    }

    /// The token as its bearer keeps it.
    pub fn show(&self) -> String {
        let secret: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("bsm_{}_{secret}", self.id)
    }

    /// What the log keeps: the secret hashed under the token's id.
    pub fn hash(&self) -> [u8; 32] {
        let mut key = [0; 32];
        let id = self.id.as_str().as_bytes();
        let length = id.len().min(key.len());
        key[..length].copy_from_slice(&id[..length]);
        *blake3::keyed_hash(&key, &self.bytes).as_bytes()
    }
}

fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.ct_eq(right).into()
}

impl Service {
    /// Finds out who bears `token`.
    ///
    /// Looks at this node's state, and once more after a barrier when it knows no such token.
    /// Refuses: `Unauthorized` for no, an unknown, a wrong or an expired token; `NotDone` when
    /// nobody can tell.
    pub async fn authenticate(&self, token: Option<&str>) -> Result<Caller, ServiceError> {
        let token = token.ok_or(ServiceError::Unauthorized)?;
        if self.is_admin(token) {
            return Ok(Caller::Admin);
        }
        let secret = Secret::parse(token).ok_or(ServiceError::Unauthorized)?;
        let known = match self.record(&secret.id)? {
            Some(known) => known,
            None => {
                self.consensus.barrier(self.options.patience).await?;
                self.record(&secret.id)?.ok_or(ServiceError::Unauthorized)?
            }
        };
        let (project, record) = known;
        let alive = record.expires_at.is_none_or(|end| self.consensus.log_time() < end);
        if !same(&secret.hash(), &record.secret_hash) || !alive {
            return Err(ServiceError::Unauthorized);
        }
        Ok(Caller::Token { project, role: record.role, id: secret.id })
    }

    fn is_admin(&self, token: &str) -> bool {
        let Some(admin) = &self.options.admin_token else { return false };
        let hash = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
        !admin.is_empty() && same(&hash(token), &hash(admin))
    }

    /// The token's record in this node's state, at most `RECORD_LIFE` old.
    fn record(&self, id: &TokenId) -> Result<Option<(ProjectId, TokenRecord)>, ServiceError> {
        let now = self.consensus.log_time();
        if let Some(known) = self.tokens.get(id, now) {
            return Ok(Some(known));
        }
        let epoch = self.tokens.epoch();
        let view = self.consensus.view();
        let Some(found) = read::find_token(view.as_ref(), id)? else { return Ok(None) };
        self.tokens.keep(id, &found, now, epoch);
        Ok(Some(found))
    }
}

/// Records of tokens seen lately, at most `records_max`.
pub(crate) struct TokenCache {
    /// Written by requests and by the service's duty.
    kept: Mutex<Kept>,
    records_max: usize,
}

#[derive(Default)]
struct Kept {
    records: BTreeMap<TokenId, (ProjectId, TokenRecord, Millis)>,
    /// Grows with each `forget`: a record read before it is not kept.
    epoch: u64,
}

impl TokenCache {
    pub fn new(records_max: usize) -> TokenCache {
        TokenCache { kept: Mutex::default(), records_max }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &TokenId, now: Millis) -> Option<(ProjectId, TokenRecord)> {
        let kept = self.lock();
        let (project, record, since) = kept.records.get(id)?;
        let believed = now < since.after(RECORD_LIFE) || mutants::on(Mutant::RevokedTokenServed);
        believed.then(|| (project.clone(), record.clone()))
    }

    fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    fn keep(&self, id: &TokenId, found: &(ProjectId, TokenRecord), now: Millis, epoch: u64) {
        let mut kept = self.lock();
        if kept.epoch != epoch {
            return;
        }
        if kept.records.len() >= self.records_max {
            // Full: begin again. What is in use comes back with one read each.
            kept.records.clear();
        }
        kept.records.insert(id.clone(), (found.0.clone(), found.1.clone(), now));
    }

    pub fn forget(&self, id: &TokenId) {
        let mut kept = self.lock();
        kept.epoch += 1;
        if !mutants::on(Mutant::RevokedTokenServed) {
            kept.records.remove(id);
        }
    }

    pub fn forget_all(&self) {
        let mut kept = self.lock();
        kept.epoch += 1;
        kept.records.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bessemer_model::Role;

    const TOKEN: &str = concat!(
        "bsm_0123456789abcdef_",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    );

    #[test]
    fn tokens_read_back_as_shown_and_nothing_else_is_one() {
        let secret = Secret::parse(TOKEN).expect("a token");
        assert_eq!(secret.show(), TOKEN);
        for wrong in [
            "",
            "bsm_",
            "bsm_0123456789abcdef",
            &TOKEN[..TOKEN.len() - 1],
            &TOKEN.to_uppercase(),
            &format!("{TOKEN}0"),
            &TOKEN.replace("bsm_0", "bsm_é"),
            &TOKEN.replacen('f', "g", 1),
        ] {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn hashes_depend_on_the_id_and_on_the_secret() {
        let one = Secret::parse(TOKEN).expect("a token");
        let other_id = Secret { id: TokenId::new("1123456789abcdef"), bytes: one.bytes };
        let mut bytes = one.bytes;
        bytes[31] ^= 1;
        let other_secret = Secret { id: one.id.clone(), bytes };
        assert!(!same(&one.hash(), &other_id.hash()));
        assert!(!same(&one.hash(), &other_secret.hash()));
    }

    fn record(id: &TokenId) -> (ProjectId, TokenRecord) {
        let record = TokenRecord {
            id: id.clone(),
            secret_hash: [0; 32],
            role: Role::Reader,
            name: "".into(),
            expires_at: None,
        };
        (ProjectId::new("p"), record)
    }

    #[test]
    fn a_record_read_before_a_revocation_is_not_kept() {
        let cache = TokenCache::new(2);
        let id = TokenId::new("t");
        let epoch = cache.epoch();
        cache.forget(&id);
        cache.keep(&id, &record(&id), Millis(0), epoch);
        assert!(cache.get(&id, Millis(0)).is_none());
        cache.keep(&id, &record(&id), Millis(0), cache.epoch());
        assert!(cache.get(&id, Millis(4_999)).is_some());
        assert!(cache.get(&id, Millis(5_000)).is_none(), "it is too old");
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = TokenCache::new(2);
        for id in ["a", "b", "c"].map(TokenId::new) {
            cache.keep(&id, &record(&id), Millis(0), cache.epoch());
        }
        assert_eq!(cache.lock().records.len(), 1);
    }
}
