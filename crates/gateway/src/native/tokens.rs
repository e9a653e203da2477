//! Tokens of `/v1`. The secret is in the answer to the creation, and nowhere else.

use bessemer_model::limits::{PER_PAGE_DEFAULT, PER_PAGE_MAX};
use bessemer_model::{Millis, Role, TokenId, TokenRecord};
use bessemer_service::{Freshness, NewToken};
use serde::{Deserialize, Serialize};

use super::shapes::{Done, parse};
use crate::call::Call;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Deserialize, Serialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum RoleWord {
    Reader,
    Member,
    Owner,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Role {
        match word {
            RoleWord::Reader => Role::Reader,
            RoleWord::Member => Role::Member,
            RoleWord::Owner => Role::Owner,
        }
    }
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> RoleWord {
        match role {
            Role::Reader => RoleWord::Reader,
            Role::Member => RoleWord::Member,
            Role::Owner => RoleWord::Owner,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    role: RoleWord,
    #[serde(default)]
    name: String,
    /// Milliseconds since the Unix epoch.
    expires_at_ms: Option<u64>,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    role: RoleWord,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
struct Listed<'a> {
    tokens: Vec<Shown<'a>>,
}

pub(super) async fn create(call: Call) -> Result<Reply, Refusal> {
    let body: CreateBody = parse(&call.body)?;
    let new = NewToken {
        name: body.name.as_str().into(),
        role: body.role.into(),
        expires_at: body.expires_at_ms.map(Millis),
    };
    let minted = call.service.create_token(&call.caller, &call.project(), new, call.key()).await?;
    Ok(Reply::created(&Shown {
        id: minted.id.as_str(),
        role: body.role,
        name: &body.name,
        expires_at_ms: body.expires_at_ms,
        token: Some(&minted.token),
    }))
}

fn show(record: &TokenRecord) -> Shown<'_> {
    Shown {
        id: record.id.as_str(),
        role: record.role.into(),
        name: &record.name,
        expires_at_ms: record.expires_at.map(|end| end.0),
        token: None,
    }
}

pub(super) async fn list(call: Call) -> Result<Reply, Refusal> {
    let freshness = call.freshness();
    let per_page = call.query.number("per_page", PER_PAGE_DEFAULT, PER_PAGE_MAX)?;
    let previous = call.query.get("previous").unwrap_or("");
    let project = call.project();
    let found =
        call.service.list_tokens(&call.caller, &project, previous, per_page, freshness).await?;
    let tokens = found.iter().map(show).collect();
    Ok(Reply::ok(&Listed { tokens }).stale(freshness == Freshness::Stale))
}

pub(super) async fn revoke(call: Call) -> Result<Reply, Refusal> {
    let id = TokenId::new(call.name("token"));
    call.service.revoke_token(&call.caller, &call.project(), id, call.key()).await?;
    Ok(Reply::ok(&Done {}))
}
