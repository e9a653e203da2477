//! Keyed requests: the same key within `RETRY_KEY_LIFE` gets the same outcome, and happens once.
//!
//! Not here: how the request's hash is made (the use cases).
//! Invariants: only what was done is remembered, so a rejected request may be tried again; a key
//! is never forgotten early; over quota, new keys are refused and known ones go on.
//! A deleted project forgets its keys with everything else; so its creation and its deletion are
//! kept by the group, apart from the keys of the project: their retries find them all the same.

use bessemer_model::limits::{
    PROJECT_ID_BYTES_MAX, PROJECT_RETRY_KEYS_MAX, RETRY_KEY_BYTES_MAX, RETRY_KEY_LIFE,
};
use bessemer_model::rejection::{Named, Quotum};
use bessemer_model::{Command, Outcome, ProjectId, Rejection, ReservedMessage, RetryKey};
use bessemer_seam::kv::{KvRead, Table};
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::{Fault, Refusal};
use crate::queue::check_length;
use crate::state::{Bodies, State};
use crate::tables::retry::{self, RetryRow};
use crate::tables::timer::Timer;
use crate::tables::{message, read};

/// Who keeps the outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keeper {
    Project,
    Group,
}

impl Keeper {
    pub fn of(command: &Command) -> Keeper {
        let ends_or_begins =
            matches!(command, Command::CreateProject { .. } | Command::DeleteProject);
        if ends_or_begins { Keeper::Group } else { Keeper::Project }
    }
}

/// The outcome of an earlier request under this key, or `None` if it is new.
pub(crate) fn check(
    state: &State,
    keeper: Keeper,
    project: &ProjectId,
    retry: &RetryKey,
) -> Result<Option<Outcome>, Refusal> {
    check_length(Named::RetryKey, &retry.key, RETRY_KEY_BYTES_MAX)?;
    let (key, kept, limit) = match keeper {
        // The verb refuses it.
        Keeper::Group if project.as_str().len() > PROJECT_ID_BYTES_MAX => return Ok(None),
        Keeper::Group => {
            let key = retry::group_key(project, &retry.key);
            let key = retry::key(retry::OF_GROUP, &key);
            (key, state.core.retry_keys, PROJECT_RETRY_KEYS_MAX)
        }
        Keeper::Project => {
            // A project that is not there has no keys; the verb refuses it.
            let Some(project) = state.find_project(project)? else { return Ok(None) };
            let key = retry::key(project.row.number, &retry.key);
            (key, project.row.usage.retry_keys, project.row.quota.retry_keys_max)
        }
    };
    if let Some(row) = read(&state.rows, Table::Row, &key, RetryRow::decode)?
        && !mutants::on(Mutant::RabbitmqDuplicateOnRetry)
    {
        if row.request_hash != retry.request_hash {
            return Err(Rejection::RetryKeyMismatch.into());
        }
        let mut outcome = row.outcome;
        fill_bodies(state, &mut outcome)?;
        return Ok(Some(outcome));
    }
    if kept >= limit {
        return Err(Rejection::OverQuota { what: Quotum::RetryKeys, limit }.into());
    }
    Ok(None)
}

/// Remembers what a request brought about.
pub(crate) fn change(
    state: &mut State,
    keeper: Keeper,
    project: &ProjectId,
    retry: &RetryKey,
    outcome: &Outcome,
) -> Result<(), Fault> {
    let (number, key) = match keeper {
        Keeper::Group => {
            state.core.retry_keys += 1;
            (retry::OF_GROUP, retry::group_key(project, &retry.key))
        }
        Keeper::Project => {
            let Some(mut project) = state.find_project(project)? else { return Ok(()) };
            project.row.usage.retry_keys += 1;
            state.save_project(&project);
            (project.row.number, retry.key.clone())
        }
    };
    let expires_at = state.now().after(RETRY_KEY_LIFE);
    let row = RetryRow {
        request_hash: retry.request_hash,
        expires_at,
        project: project.clone(),
        outcome: outcome.clone(),
    };
    state.rows.insert(Table::Row, retry::key(number, &key), row.encode());
    state.insert_timer(&Timer::Retry { due: expires_at, number, key }, Vec::new());
    Ok(())
}

/// The mutant `SnapshotWithoutKeyedOutcomes`: deletes every kept outcome from a map.
#[cfg(feature = "mutants")]
pub fn forget_keyed_outcomes(kv: &impl bessemer_seam::kv::Kv) -> std::io::Result<()> {
    let mut batch = bessemer_seam::kv::WriteBatch::default();
    kv.view().scan(Table::Row, b"D", b"E", &mut |key, _| {
        batch.delete(Table::Row, key);
        std::ops::ControlFlow::Continue(())
    })?;
    kv.write(batch)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bessemer_model::GroupId;
    use bessemer_seam::kv_memory::MemoryKv;

    use super::*;
    use crate::core::Core;
    use crate::overlay::Overlay;

    #[test]
    fn the_group_keeps_a_bounded_number() {
        let retry = RetryKey { key: "k".into(), request_hash: [1; 16] };
        let answer = |retry_keys: u64| {
            let rows = Overlay::new(Box::new(MemoryKv::new()));
            let core = Core { retry_keys, ..Core::default() };
            let state = State::new(GroupId(0), rows, core, BTreeMap::new());
            check(&state, Keeper::Group, &ProjectId::new("p"), &retry)
        };
        assert!(matches!(answer(PROJECT_RETRY_KEYS_MAX - 1), Ok(None)));
        let limit = PROJECT_RETRY_KEYS_MAX;
        let over = Rejection::OverQuota { what: Quotum::RetryKeys, limit };
        assert!(matches!(answer(limit), Err(Refusal::Rejected(rejection)) if rejection == over));
    }

    #[test]
    fn keys_of_two_projects_never_meet_in_the_group() {
        let key = |project: &str, key: &str| retry::group_key(&ProjectId::new(project), key);
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("1", "1k"), key("11", "k"));
        assert_ne!(key("", "01k"), key("1", "k"));
    }
}
