//! Create token: keeps a token's record, never its secret.
//!
//! Not here: minting and checking secrets (the use cases).
//! Invariant: a token id names at most one token of all live projects.

use bessemer_model::limits::{TOKEN_ID_BYTES_MAX, TOKEN_NAME_BYTES_MAX};
use bessemer_model::rejection::{Named, Quotum};
use bessemer_model::{Outcome, ProjectId, Rejection, TokenId, TokenRecord};
use bessemer_seam::kv::Table;

use crate::fault::{Fault, Refusal};
use crate::queue::check_length;
use crate::state::{OpenProject, State};
use crate::tables::project::{self, TokenOwner};
use crate::tables::read;

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    token: &TokenRecord,
) -> Result<Outcome, Refusal> {
    let project = check(state, project, token)?;
    change(state, project, token);
    Ok(tell(token))
}

fn check(state: &State, project: &ProjectId, token: &TokenRecord) -> Result<OpenProject, Refusal> {
    let project = state.project(project)?;
    check_length(Named::TokenId, token.id.as_str(), TOKEN_ID_BYTES_MAX)?;
    if !token.name.is_empty() {
        check_length(Named::TokenName, &token.name, TOKEN_NAME_BYTES_MAX)?;
    }
    if is_taken(state, &token.id)? {
        return Err(Rejection::TokenExists { token: token.id.clone() }.into());
    }
    let limit = project.row.quota.tokens_max;
    if project.row.usage.tokens >= limit {
        return Err(Rejection::OverQuota { what: Quotum::Tokens, limit }.into());
    }
    Ok(project)
}

/// Whether a live project has a token of this id.
fn is_taken(state: &State, token: &TokenId) -> Result<bool, Fault> {
    let key = project::owner_key(token);
    match read(&state.rows, Table::Row, &key, TokenOwner::decode)? {
        None => Ok(false),
        Some(owner) => {
            let project = state.find_project(&owner.project)?;
            Ok(project.is_some_and(|project| project.row.number == owner.number))
        }
    }
}

fn change(state: &mut State, mut project: OpenProject, token: &TokenRecord) {
    let number = project.row.number;
    let row = project::encode_token(token);
    state.rows.insert(Table::Row, project::token_key(number, &token.id), row);
    let owner = TokenOwner { number, project: project.id.clone() };
    state.rows.put(Table::Row, project::owner_key(&token.id), owner.encode());
    project.row.usage.tokens += 1;
    state.save_project(&project);
}

fn tell(token: &TokenRecord) -> Outcome {
    Outcome::TokenCreated { id: token.id.clone() }
}
