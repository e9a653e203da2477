//! Tokens of a project: mint, list, revoke. The secret is shown once, to whoever minted it.

use bessemer_engine::read;
use bessemer_model::{Command, Millis, NotDone, Outcome, ProjectId, Role, TokenId, TokenRecord};

use crate::authorize::Secret;
use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::{Freshness, Service, mismatched, project_missing};

/// What a new token shall be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// 0..=255 bytes.
    pub name: Box<str>,
    pub role: Role,
    /// Refused from this log time on.
    pub expires_at: Option<Millis>,
}

/// A token as it is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct MintedToken {
    pub id: TokenId,
    /// `bsm_<id>_<secret>`: what its bearer sends.
    pub token: String,
}

/// Hides the secret.
impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MintedToken({}, …)", self.id)
    }
}

impl Service {
    /// Mints a token of `project`. With a key, id and secret are derived from it under the
    /// cluster's own secret, so that a retry is shown the same token.
    pub async fn create_token(
        &self,
        caller: &Caller,
        project: &ProjectId,
        new: NewToken,
        key: Option<&str>,
    ) -> Result<MintedToken, ServiceError> {
        caller.may(project, Role::Owner)?;
        let secret = match key {
            Some(key) => self.secret_of_key(project, key).await?,
            None => self.mint_secret(),
        };
        let NewToken { name, role, expires_at } = new;
        let secret_hash = secret.hash();
        let token = TokenRecord { id: secret.id.clone(), secret_hash, role, name, expires_at };
        match self.propose(project, Command::CreateToken { token }, key).await? {
            Outcome::TokenCreated { id } => Ok(MintedToken { id, token: secret.show() }),
            _ => mismatched("CreateToken"),
        }
    }

    /// Revokes a token. Nodes that lag refuse it as soon as they have caught up.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        project: &ProjectId,
        id: TokenId,
        key: Option<&str>,
    ) -> Result<(), ServiceError> {
        caller.may(project, Role::Owner)?;
        let outcome = self.propose(project, Command::RevokeToken { id: id.clone() }, key).await?;
        self.tokens.forget(&id);
        match outcome {
            Outcome::Done => Ok(()),
            _ => mismatched("RevokeToken"),
        }
    }

    /// A page of the project's tokens, without their secrets, with ids strictly greater than
    /// `previous`, ascending.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        project: &ProjectId,
        previous: &str,
        per_page: u32,
        freshness: Freshness,
    ) -> Result<Vec<TokenRecord>, ServiceError> {
        caller.may(project, Role::Owner)?;
        let view = self.view(freshness).await?;
        let found = read::list_tokens(view.as_ref(), project, previous, per_page)?;
        found.ok_or_else(|| project_missing(project))
    }

    fn mint_secret(&self) -> Secret {
        let id = TokenId::new(format!("{:016x}", self.runtime.random()));
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.runtime.random().to_be_bytes());
        }
        Secret { id, bytes }
    }

    async fn secret_of_key(&self, project: &ProjectId, key: &str) -> Result<Secret, ServiceError> {
        let view = self.view(Freshness::Current).await?;
        let under = read::derived_secret(view.as_ref(), "Bessemer 2025 token of a retry key")?
            .ok_or(ServiceError::NotDone(NotDone::NoLeader))?;
        let mut text = project.as_str().as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(key.as_bytes());
        let mut hash = blake3::Hasher::new_keyed(&under).update(&text).finalize_xof();
        let (mut id, mut bytes) = ([0; 8], [0; 32]);
        hash.fill(&mut id);
        hash.fill(&mut bytes);
        let id = TokenId::new(format!("{:016x}", u64::from_be_bytes(id)));
        Ok(Secret { id, bytes })
    }
}
