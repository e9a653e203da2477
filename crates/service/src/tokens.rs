//! Tokens of a project: mint, list, revoke. The secret is shown once, to whoever minted it.

use bessemer_engine::read;
use bessemer_model::{
    Command, Millis, NotDone, Outcome, ProjectId, Request, Role, TokenId, TokenRecord,
};

use crate::authorize::Secret;
use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::{Freshness, Service, keyed, mismatched, project_missing};

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
    /// Mints a token of `project`. The id is chosen by chance, so no id is ever minted twice. With a
    /// key, the secret is derived from key and id under the cluster's own secret: a retry is told
    /// the id of the first request, and so can be shown the same token.
    pub async fn create_token(
        &self,
        caller: &Caller,
        project: &ProjectId,
        new: NewToken,
        key: Option<&str>,
    ) -> Result<MintedToken, ServiceError> {
        caller.may(project, Role::Owner)?;
        let id = TokenId::new(format!("{:016x}", self.runtime.random()));
        let secret = match key {
            Some(key) => self.secret_of_key(project, key, id).await?,
            None => self.mint_secret(id),
        };
        let request = mint_request(project, new, key, &secret);
        let id = match self.consensus.propose(request, self.options.patience).await? {
            Outcome::TokenCreated { id } => id,
            _ => mismatched("CreateToken"),
        };
        let secret = match key {
            Some(key) if id != secret.id => self.secret_of_key(project, key, id).await?,
            Some(_) | None => secret,
        };
        Ok(MintedToken { id: secret.id.clone(), token: secret.show() })
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

    fn mint_secret(&self, id: TokenId) -> Secret {
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.runtime.random().to_be_bytes());
        }
        Secret { id, bytes }
    }

    async fn secret_of_key(
        &self,
        project: &ProjectId,
        key: &str,
        id: TokenId,
    ) -> Result<Secret, ServiceError> {
        let view = self.view(Freshness::Current).await?;
        let under = read::derived_secret(view.as_ref(), "Bessemer 2025 token of a retry key")?
            .ok_or(ServiceError::NotDone(NotDone::NoLeader))?;
        let text = [id.as_str(), project.as_str(), key].join("\0");
        let bytes = *blake3::keyed_hash(&under, text.as_bytes()).as_bytes();
        Ok(Secret { id, bytes })
    }
}

/// Keeps the record of `secret`. The request's hash covers what was asked for, not what was drawn
/// by chance: with the same key the same wish is the same request.
fn mint_request(project: &ProjectId, new: NewToken, key: Option<&str>, secret: &Secret) -> Request {
    let NewToken { name, role, expires_at } = new;
    let (id, secret_hash) = (TokenId::new(""), [0; 32]);
    let asked = TokenRecord { id, secret_hash, role, name, expires_at };
    let token = TokenRecord { id: secret.id.clone(), secret_hash: secret.hash(), ..asked.clone() };
    let asked = keyed(project, Command::CreateToken { token: asked }, key);
    Request { command: Command::CreateToken { token }, ..asked }
}
