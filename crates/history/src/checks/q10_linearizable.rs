//! Q10, linearizable: each answer is that of one request of the log, and the order of the log
//! agrees with real time.
//!
//! Source: reliability 2, Q10; Herlihy and Wing 1990 (an order that keeps the order of operations
//! that do not overlap, and in which each answer is right). That answers are right by the log is
//! the oracle's part (M1); together they are linearizability, in n log n, since the log is given.
//! No false alarm: operations find their requests by names that are unique (`applied.rs`); where a
//! name stands in more than one request, as that of a repeated keyed post, the order is not judged.
//! Empty reserves and reads are in no log: a read is judged by the span in which its message lived;
//! an empty reserve, which a long poll may answer without the log, is not judged.
//! Without `History::applied` there is nothing to judge.

use std::fmt;

use bessemer_model::{Command, LogIndex, MessageId, QueueName, Rejection};

use crate::applied::{Content, content_of, is_answer};
use crate::arranged::Arranged;
use crate::event::{Answer, History, Op, Operation};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotLinear {
    /// An answer that no request of the log had.
    Unmatched { called_ns: u64, op: Op, answer: Answer },
    /// Refused by the client's account, and by the log otherwise.
    Refusal { op: Op, heard: Rejection, index: LogIndex },
    /// Answered before another was asked, and applied after it.
    Order { op: Op, index: LogIndex, before: Op, before_index: LogIndex },
    /// A read that no moment of its span explains.
    Read { message: MessageId, seen: bool, called_ns: u64 },
}

impl fmt::Display for NotLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotLinear::Unmatched { called_ns, op, answer } => {
                write!(f, "{op:?}, asked at {called_ns} ns, was {answer:?}; not so in the log")
            }
            NotLinear::Refusal { op, heard, index } => {
                write!(f, "{op:?} was refused ({heard}); not so in the log, at {index}")
            }
            NotLinear::Order { op, index, before, before_index } => write!(
                f,
                "{op:?} was applied at {index}, but asked after the answer of {before:?}, which was \
                 applied at {before_index}"
            ),
            NotLinear::Read { message, seen, called_ns } => {
                write!(f, "a read at {called_ns} ns saw message {message}: {seen}, at no time true")
            }
        }
    }
}

/// An operation and the place of its request.
#[derive(Clone, Copy)]
struct Placed<'a> {
    operation: &'a Operation,
    place: usize,
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    if arranged.history.applied.is_empty() {
        return;
    }
    let mut placed = Vec::new();
    for operation in &arranged.history.operations {
        placed.extend(place_of(arranged, operation, findings));
    }
    in_real_time(arranged.history, &placed, findings);
    reads(arranged, placed, findings);
}

/// Finds the request, and blames an answer that is not its. `None`: nothing to judge, or more
/// than one place.
fn place_of<'a>(
    arranged: &Arranged<'_>,
    operation: &'a Operation,
    findings: &mut Findings,
) -> Option<Placed<'a>> {
    use Answer as A;
    let (op, answer) = (&operation.op, &operation.answer);
    match answer {
        A::Forbidden | A::NotDone | A::Unauthorized | A::Unknown | A::Nonsense(_) => return None,
        A::Posted(_) | A::Reserved(_) | A::Acked(_) | A::Touched(_) | A::Released => {}
        A::Swapped(_) | A::Seen(_) | A::Minted | A::Revoked | A::Refused(_) => {}
    }
    let content = content_of(operation)?;
    let applied = &arranged.history.applied;
    let right = |place: &usize| is_answer(answer, &applied[*place].answer);
    let mut places = arranged.applied.find(content).filter(right);
    let Some(place) = places.next() else {
        return wrong(arranged, operation, arranged.applied.find(content).next(), findings);
    };
    findings.looked(Check::Linear, 1);
    let named = content_is_whole(op, answer, &applied[place].request.command);
    if !named {
        let (called_ns, op, answer) = (operation.called_ns, op.clone(), answer.clone());
        findings.blame(NotLinear::Unmatched { called_ns, op, answer });
    }
    places.next().is_none().then_some(Placed { operation, place })
}

/// No request had the answer that was heard.
fn wrong<'a>(
    arranged: &Arranged<'_>,
    operation: &'a Operation,
    other: Option<usize>,
    findings: &mut Findings,
) -> Option<Placed<'a>> {
    let (op, answer) = (operation.op.clone(), operation.answer.clone());
    match (&operation.op, answer, other) {
        // A refusal may come from whoever stands before the log.
        (_, Answer::Refused(_), None) => {}
        (_, Answer::Refused(heard), Some(place)) => {
            findings.looked(Check::Linear, 1);
            let index = arranged.history.applied[place].index;
            findings.blame(NotLinear::Refusal { op, heard, index });
        }
        // Not every run writes the numbers of tokens into their names.
        (Op::Mint { .. } | Op::Revoke { .. }, _, None) => {}
        (_, answer, _) => {
            findings.looked(Check::Linear, 1);
            findings.blame(NotLinear::Unmatched { called_ns: operation.called_ns, op, answer });
        }
    }
    None
}

/// Whether the request asked for what the operation did, as far as its answer does not tell.
fn content_is_whole(op: &Op, answer: &Answer, command: &Command) -> bool {
    match (op, answer, command) {
        (
            Op::Reserve { count, timeout, .. },
            _,
            Command::ReserveMessages { count: n, timeout: t, .. },
        ) => count == n && t.is_none_or(|t| t == *timeout),
        (Op::Post { uids, delay, .. }, _, Command::PostMessages { messages, .. }) => {
            let uid_of = |body: &[u8]| crate::event::uid_in_body(body);
            uids.len() == messages.len()
                && uids.iter().zip(messages).all(|(uid, message)| {
                    uid_of(&message.body) == Some(*uid) && message.delay == *delay
                })
        }
        (Op::Touch { timeout, .. }, _, Command::TouchMessage { timeout: t, .. }) => {
            t.is_none_or(|t| t == *timeout)
        }
        (Op::Release { delay, .. }, _, Command::ReleaseMessage { delay: d, .. }) => d == delay,
        _ => true, // All it asks for is in its name, or in its answer.
    }
}

/// Asked after an answer, applied after it: a sweep by time of call against the latest place of
/// all that were answered before.
fn in_real_time(history: &History, placed: &[Placed<'_>], findings: &mut Findings) {
    let mut asked: Vec<&Placed<'_>> = placed.iter().collect();
    asked.sort_by_key(|each| each.operation.called_ns);
    let mut answered = asked.clone();
    answered.sort_by_key(|each| each.operation.answered_ns);
    let mut answered = answered.into_iter().peekable();
    let mut latest: Option<&Placed<'_>> = None;
    for each in asked {
        let earlier = |one: &&Placed<'_>| one.operation.answered_ns < each.operation.called_ns;
        while let Some(one) = answered.next_if(earlier) {
            if latest.is_none_or(|latest| latest.place < one.place) {
                latest = Some(one);
            }
        }
        let Some(before) = latest else { continue };
        findings.looked(Check::Linear, 1);
        if each.place < before.place {
            findings.blame(NotLinear::Order {
                op: each.operation.op.clone(),
                index: history.applied[each.place].index,
                before: before.operation.op.clone(),
                before_index: history.applied[before.place].index,
            });
        }
    }
}

/// Reads: true at some moment between what was surely applied before, and what was applied after.
fn reads(arranged: &Arranged<'_>, mut placed: Vec<Placed<'_>>, findings: &mut Findings) {
    let Some(moving) = moving(arranged.history) else { return };
    // The latest place of all answered up to then, and the earliest of all asked from then on.
    placed.sort_by_key(|each| each.operation.answered_ns);
    let mut latest = Vec::with_capacity(placed.len());
    for each in &placed {
        let last = latest.last().map_or(0, |(_, place)| *place);
        latest.push((each.operation.answered_ns, last.max(each.place)));
    }
    placed.sort_by_key(|each| each.operation.called_ns);
    let mut earliest = Vec::with_capacity(placed.len());
    for each in placed.iter().rev() {
        let last = earliest.last().map_or(usize::MAX, |(_, place)| *place);
        earliest.push((each.operation.called_ns, last.min(each.place)));
    }
    earliest.reverse();
    for operation in &arranged.history.operations {
        let (Op::Look { message, .. }, Answer::Seen(seen)) = (&operation.op, &operation.answer)
        else {
            continue;
        };
        let Some((from, to)) = life(arranged, &moving, *message) else { continue };
        findings.looked(Check::Linear, 1);
        let before = latest.partition_point(|(answered, _)| *answered < operation.called_ns);
        let after = earliest.partition_point(|(called, _)| *called <= operation.answered_ns);
        let lower = before.checked_sub(1).map_or(0, |at| latest[at].1);
        let upper = earliest.get(after).map_or(usize::MAX, |(_, place)| *place);
        // After place `lower`, and before place `upper`.
        let possible = match seen {
            true => from < upper && to > lower,
            false => from > lower || to < upper,
        };
        if !possible {
            let (message, seen, called_ns) = (*message, *seen, operation.called_ns);
            findings.blame(NotLinear::Read { message, seen, called_ns });
        }
    }
}

/// Places of the request that made the message, and of the one that removed it, if any. `None`
/// when it may go by moving.
fn life(
    arranged: &Arranged<'_>,
    moving: &[&QueueName],
    message: MessageId,
) -> Option<(usize, usize)> {
    let applied = &arranged.history.applied;
    let done = |place: &usize| applied[*place].answer.is_ok();
    let from = arranged.applied.find(Content::Posted(message)).find(done)?;
    let moves = match &applied[from].request.command {
        Command::PostMessages { queue, .. } => moving.contains(&queue),
        _ => !moving.is_empty(), // A transaction may post to several.
    };
    let named = arranged.acks_of(message).iter().map(|ack| ack.held.reservation);
    let mut ends = named
        .flat_map(|reservation| arranged.applied.find(Content::Ack(message, reservation)))
        .filter(done);
    let to = ends.next().unwrap_or(usize::MAX);
    (!moves).then_some((from, to))
}

/// Queues whose messages may move away; `None` when messages go by ways that leave no trace of
/// each: expired, cleared, removed unnamed.
fn moving(history: &History) -> Option<Vec<&QueueName>> {
    let mut moving = Vec::new();
    for each in &history.applied {
        let unseen = match &each.request.command {
            Command::PutQueue { queue, patch } => {
                moving.extend(patch.dead_letter.is_some().then_some(queue));
                patch.message_expiration.is_some()
            }
            Command::PostMessages { messages, .. } => {
                messages.iter().any(|message| message.expiration.is_some())
            }
            Command::ReserveMessages { delete, .. } => *delete,
            Command::ClearQueue { .. }
            | Command::DeleteQueue { .. }
            | Command::DeleteProject
            | Command::AckMessages { .. } => true,
            _ => false, // Removes nothing, or what it names.
        };
        if unseen {
            return None;
        }
    }
    Some(moving)
}

#[cfg(test)]
#[path = "q10_linearizable_tests.rs"]
mod tests;
