//! Post: appends messages in order, making the queue if it is missing.
//!
//! Not here: waking who waits (an effect). Source: ironmq-v3.md 4.1, 3.8.
//! Invariant: ids grow in the order of the request, and no id is ever given twice.

use bessemer_model::limits::{
    BODY_BYTES_MAX, DELAY_MAX, MESSAGE_EXPIRATION_MAX, MESSAGE_EXPIRATION_MIN,
    ORDERING_KEY_BYTES_MAX, POST_COUNT_MAX, QUEUE_NAME_BYTES_MAX,
};
use bessemer_model::rejection::{Counted, Named, Quotum, Timed};
use bessemer_model::{
    MessageId, Millis, NewMessage, Outcome, Position, ProjectId, QueueName, QueueSettings,
    Rejection,
};
use bessemer_seam::kv::Table;
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::{Fault, Refusal};
use crate::queue::arrive::{Arrival, arrive};
use crate::queue::{check_length, check_time, store};
use crate::state::{OpenProject, OpenQueue, State};
use crate::tables::message;

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: QueueName,
    messages: Vec<NewMessage>,
) -> Result<Outcome, Refusal> {
    let post = check(state, project, queue, messages)?;
    let ids = change(state, post)?;
    Ok(tell(ids))
}

struct Post {
    project: OpenProject,
    name: QueueName,
    /// `None`: to be made.
    queue: Option<OpenQueue>,
    messages: Vec<NewMessage>,
    body_bytes: u64,
}

fn check(
    state: &State,
    project: &ProjectId,
    name: QueueName,
    messages: Vec<NewMessage>,
) -> Result<Post, Refusal> {
    let project = state.project(project)?;
    check_length(Named::QueueName, name.as_str(), QUEUE_NAME_BYTES_MAX)?;
    let (count, count_max) = (messages.len() as u64, POST_COUNT_MAX as u64);
    if count > count_max {
        let what = Counted::Messages;
        return Err(Rejection::CountOutOfRange { what, count, count_max }.into());
    }
    for message in &messages {
        check_message(message)?;
    }
    let queue = state.find_queue(&project, &name)?;
    let (usage, quota) = (&project.row.usage, &project.row.quota);
    if queue.is_none() && usage.queues >= quota.queues_max {
        return Err(over(Quotum::Queues, quota.queues_max));
    }
    if count > 0 && usage.messages + count > quota.messages_max {
        return Err(over(Quotum::Messages, quota.messages_max));
    }
    let body_bytes: u64 = messages.iter().map(|message| message.body.len() as u64).sum();
    if body_bytes > 0 && usage.bytes + body_bytes > quota.bytes_max {
        return Err(over(Quotum::Bytes, quota.bytes_max));
    }
    Ok(Post { project, name, queue, messages, body_bytes })
}

fn check_message(message: &NewMessage) -> Result<(), Rejection> {
    if message.body.len() > BODY_BYTES_MAX {
        let (bytes, bytes_max) = (message.body.len() as u64, BODY_BYTES_MAX as u64);
        return Err(Rejection::LengthOutOfRange { what: Named::Body, bytes, bytes_max });
    }
    check_time(Timed::Delay, message.delay, Millis::ZERO, DELAY_MAX)?;
    if let Some(expiration) = message.expiration {
        let (min, max) = (MESSAGE_EXPIRATION_MIN, MESSAGE_EXPIRATION_MAX);
        check_time(Timed::MessageExpiration, expiration, min, max)?;
    }
    if let Some(key) = &message.ordering_key {
        check_length(Named::OrderingKey, key.as_str(), ORDERING_KEY_BYTES_MAX)?;
    }
    Ok(())
}

fn over(what: Quotum, limit: u64) -> Refusal {
    Rejection::OverQuota { what, limit }.into()
}

fn change(state: &mut State, post: Post) -> Result<Vec<MessageId>, Fault> {
    let Post { mut project, name, queue, mut messages, body_bytes } = post;
    mutants::shuffle(Mutant::HashMapOrderInApply, &mut messages);
    let mut queue = match queue {
        Some(queue) => queue,
        None => store::make_queue(state, &mut project, name, QueueSettings::default()),
    };
    project.row.usage.messages += messages.len() as u64;
    project.row.usage.bytes += body_bytes;
    let mut ids = Vec::with_capacity(messages.len());
    for new in messages {
        let sequence = state.core.next_sequence;
        state.core.next_sequence += 1;
        let id = MessageId::new(state.group, sequence);
        let arrival = Arrival {
            id,
            position: Position(sequence),
            body_bytes: new.body.len() as u64,
            delay: new.delay,
            life: new.expiration.unwrap_or(queue.row.settings.message_expiration),
            ordering_key: new.ordering_key,
            reserved_count: 0,
            moved_from: None,
        };
        state.rows.insert(Table::Body, message::body_key(id), new.body);
        arrive(state, &project.id, &mut queue, arrival)?;
        ids.push(id);
    }
    assert!(ids.is_sorted_by(|one, next| one < next), "ids grow");
    state.save_queue(&project, &queue);
    state.save_project(&project);
    Ok(ids)
}

fn tell(ids: Vec<MessageId>) -> Outcome {
    Outcome::Posted { ids }
}
