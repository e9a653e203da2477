//! Keyed requests: the same key within `RETRY_KEY_LIFE` gets the same outcome, and happens once.
//!
//! Not here: how the request's hash is made (the use cases).
//! Invariants: only what was done is remembered, so a rejected request may be tried again; a key
//! is never forgotten early; over quota, new keys are refused and known ones go on.
//! A deleted project forgets its keys with everything else, so a keyed `DeleteProject` is not kept.

use bessemer_model::limits::{RETRY_KEY_BYTES_MAX, RETRY_KEY_LIFE};
use bessemer_model::rejection::{Named, Quotum};
use bessemer_model::{Outcome, ProjectId, Rejection, ReservedMessage, RetryKey};
use bessemer_seam::kv::{KvRead, Table};

use crate::fault::{Fault, Refusal};
use crate::queue::check_length;
use crate::state::{Bodies, State};
use crate::tables::retry::{self, RetryRow};
use crate::tables::timer::Timer;
use crate::tables::{message, read};

/// The outcome of an earlier request under this key, or `None` if it is new.
pub(crate) fn check(
    state: &State,
    project: &ProjectId,
    retry: &RetryKey,
) -> Result<Option<Outcome>, Refusal> {
    check_length(Named::RetryKey, &retry.key, RETRY_KEY_BYTES_MAX)?;
    // A project that is not there has no keys; its request may be the one that makes it.
    let Some(project) = state.find_project(project)? else { return Ok(None) };
    let key = retry::key(project.row.number, &retry.key);
    if let Some(row) = read(&state.rows, Table::Row, &key, RetryRow::decode)? {
        if row.request_hash != retry.request_hash {
            return Err(Rejection::RetryKeyMismatch.into());
        }
        let mut outcome = row.outcome;
        fill_bodies(state, &mut outcome)?;
        return Ok(Some(outcome));
    }
    let limit = project.row.quota.retry_keys_max;
    if project.row.usage.retry_keys >= limit {
        return Err(Rejection::OverQuota { what: Quotum::RetryKeys, limit }.into());
    }
    Ok(None)
}

/// Remembers what a request brought about.
pub(crate) fn change(
    state: &mut State,
    project: &ProjectId,
    retry: &RetryKey,
    outcome: &Outcome,
) -> Result<(), Fault> {
    let Some(mut project) = state.find_project(project)? else { return Ok(()) };
    let number = project.row.number;
    let expires_at = state.now().after(RETRY_KEY_LIFE);
    let row = RetryRow {
        request_hash: retry.request_hash,
        expires_at,
        project: project.id.clone(),
        outcome: outcome.clone(),
    };
    state.rows.insert(Table::Row, retry::key(number, &retry.key), row.encode());
    let timer = Timer::Retry { due: expires_at, number, key: retry.key.clone() };
    state.insert_timer(&timer, Vec::new());
    project.row.usage.retry_keys += 1;
    state.save_project(&project);
    Ok(())
}

/// Finds the bodies of messages that still live; `None` stays where one is gone.
fn fill_bodies(state: &State, outcome: &mut Outcome) -> Result<(), Fault> {
    if state.bodies == Bodies::Unwanted {
        return Ok(());
    }
    match outcome {
        Outcome::Reserved { messages } => {
            for ReservedMessage { id, body, .. } in messages {
                *body = state.rows.get(Table::Body, &message::body_key(*id))?;
            }
        }
        Outcome::Transacted { outcomes } => {
            for outcome in outcomes {
                fill_bodies(state, outcome)?;
            }
        }
        Outcome::Done
        | Outcome::ProjectCreated { .. }
        | Outcome::QuotaUpdated { .. }
        | Outcome::TokenCreated { .. }
        | Outcome::QueuePut { .. }
        | Outcome::QueueDeleted
        | Outcome::Posted { .. }
        | Outcome::Deleted { .. }
        | Outcome::Touched { .. }
        | Outcome::Released
        | Outcome::Cleared => {} // No bodies in these.
    }
    Ok(())
}
