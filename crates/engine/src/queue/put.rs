//! Put: makes a queue, or changes the given settings of one.
//!
//! Not here: what the settings do. Source: ironmq-v3.md 3.2, 8.
//! Invariant: a queue is never its own dead-letter queue.

use bessemer_model::limits::{
    MAX_RESERVATIONS_DEFAULT, MAX_RESERVATIONS_MAX, MESSAGE_EXPIRATION_MAX, MESSAGE_EXPIRATION_MIN,
    MESSAGE_TIMEOUT_MAX, MESSAGE_TIMEOUT_MIN, QUEUE_NAME_BYTES_MAX,
};
use bessemer_model::rejection::{Counted, Named, Quotum, Timed};
use bessemer_model::{
    DeadLetter, DeadLetterPatch, Outcome, ProjectId, QueueName, QueuePatch, QueueSettings,
    Rejection,
};

use crate::fault::Refusal;
use crate::queue::{check_length, check_time, store};
use crate::state::{OpenProject, OpenQueue, State};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: QueueName,
    patch: &QueuePatch,
) -> Result<Outcome, Refusal> {
    let put = check(state, project, queue, patch)?;
    let created = put.queue.is_none();
    let settings = change(state, put);
    Ok(tell(settings, created))
}

struct Put {
    project: OpenProject,
    name: QueueName,
    /// `None`: to be made.
    queue: Option<OpenQueue>,
    /// As they will be.
    settings: QueueSettings,
}

fn check(
    state: &State,
    project: &ProjectId,
    name: QueueName,
    patch: &QueuePatch,
) -> Result<Put, Refusal> {
    let project = state.project(project)?;
    check_length(Named::QueueName, name.as_str(), QUEUE_NAME_BYTES_MAX)?;
    if let Some(timeout) = patch.message_timeout {
        let (min, max) = (MESSAGE_TIMEOUT_MIN, MESSAGE_TIMEOUT_MAX);
        check_time(Timed::MessageTimeout, timeout, min, max)?;
    }
    if let Some(expiration) = patch.message_expiration {
        let (min, max) = (MESSAGE_EXPIRATION_MIN, MESSAGE_EXPIRATION_MAX);
        check_time(Timed::MessageExpiration, expiration, min, max)?;
    }
    let queue = state.find_queue(&project, &name)?;
    let before = queue.as_ref().map(|queue| queue.row.settings.clone()).unwrap_or_default();
    let dead_letter = check_dead_letter(&name, before.dead_letter, patch.dead_letter.as_ref())?;
    let (usage, quota) = (&project.row.usage, &project.row.quota);
    let makes_target = match (&patch.dead_letter, &dead_letter) {
        (Some(DeadLetterPatch::Set { queue: Some(_), .. }), Some(set)) => {
            state.find_queue(&project, &set.queue)?.is_none()
        }
        (Some(_) | None, Some(_) | None) => false,
    };
    if (queue.is_none() || makes_target) && usage.queues >= quota.queues_max {
        let limit = quota.queues_max;
        return Err(Rejection::OverQuota { what: Quotum::Queues, limit }.into());
    }
    let settings = QueueSettings {
        message_timeout: patch.message_timeout.unwrap_or(before.message_timeout),
        message_expiration: patch.message_expiration.unwrap_or(before.message_expiration),
        dead_letter,
    };
    Ok(Put { project, name, queue, settings })
}

/// The dead-letter setting after the patch.
fn check_dead_letter(
    name: &QueueName,
    before: Option<DeadLetter>,
    patch: Option<&DeadLetterPatch>,
) -> Result<Option<DeadLetter>, Rejection> {
    let (target, max_reservations) = match patch {
        None => return Ok(before),
        Some(DeadLetterPatch::Remove) => return Ok(None),
        Some(DeadLetterPatch::Set { queue, max_reservations }) => (queue, *max_reservations),
    };
    if let Some(target) = target {
        check_length(Named::QueueName, target.as_str(), QUEUE_NAME_BYTES_MAX)?;
    }
    if let Some(count) = max_reservations
        && !(1..=MAX_RESERVATIONS_MAX).contains(&count)
    {
        let (count, count_max) = (u64::from(count), u64::from(MAX_RESERVATIONS_MAX));
        let what = Counted::MaxReservations;
        return Err(Rejection::CountOutOfRange { what, count, count_max });
    }
    let kept = before.as_ref().map(|before| before.max_reservations);
    let Some(target) = target.clone().or(before.map(|before| before.queue)) else {
        return Err(Rejection::DeadLetterUnnamed { queue: name.clone() });
    };
    if target == *name {
        return Err(Rejection::DeadLetterLoop { queue: name.clone() });
    }
    let max_reservations = max_reservations.or(kept).unwrap_or(MAX_RESERVATIONS_DEFAULT);
    Ok(Some(DeadLetter { queue: target, max_reservations }))
}

fn change(state: &mut State, put: Put) -> QueueSettings {
    let Put { mut project, name, queue, settings } = put;
    assert!(settings.dead_letter.as_ref().is_none_or(|set| set.queue != name), "no loop of one");
    match queue {
        Some(mut queue) => {
            queue.row.settings = settings.clone();
            state.save_queue(&project, &queue);
        }
        None => {
            let queue = store::make_queue(state, &mut project, name, settings.clone());
            state.save_queue(&project, &queue);
            state.save_project(&project);
        }
    }
    settings
}

fn tell(settings: QueueSettings, created: bool) -> Outcome {
    Outcome::QueuePut { settings, created }
}
