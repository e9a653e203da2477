//! M1, the oracle: every answer of the log is the one the model gives, in the order of the log.
//!
//! Source: reliability 2, "second oracle" (TigerBeetle: a total order, replayed on an executable
//! model). Before each reserve the same state also judges Q4, Q7, Q8, Q9, K1 and D1 exactly.
//! No false alarm: only where the log was recorded from its first entry. The replay ends at the
//! first difference, since what comes after it follows from another state; and it ends without a
//! verdict where more came due at one moment than one entry settles, if the next difference is then.

use std::collections::BTreeSet;
use std::fmt;

use bessemer_model::{Command, LogIndex, Outcome, Request, ReservedMessage};

use crate::checks::{dead_letters, key_order, q4_one_holder, q7_fifo, q8_place, q9_delay};
use crate::event::Applied;
use crate::model::{Model, Queue, Told};
use crate::verdict::{Check, Findings};

/// An answer that is not the model's, or an order that is not the log's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differs {
    pub index: LogIndex,
    pub request: Box<Request>,
    pub expected: Box<Told>,
    pub told: Box<Told>,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Differs { index, request, expected, told } = self;
        write!(f, "index {index}: {request:?} was told {told:?}; the model says {expected:?}")
    }
}

/// Replays the applied requests in order. Cost: n log n.
pub fn check(applied: &[Applied], findings: &mut Findings) {
    let first = applied.first().map(|first| &first.request.command);
    if !matches!(first, Some(Command::InitGroup { .. })) {
        return;
    }
    let mut model = Model::default();
    let mut before = LogIndex(0);
    for each in applied {
        findings.looked(Check::Oracle, 1);
        let doubtful = model.is_behind(each.log_time) || each.index < before;
        if !doubtful {
            reserve_in_log(&mut model, each, findings);
        }
        let expected = model.apply(each.log_time, &each.request, &each.answer);
        let same = match (&each.answer, &expected) {
            (Ok(told), Ok(expected)) => is_same(told, expected),
            (told, expected) => told == expected,
        };
        if same && !doubtful {
            before = each.index;
            continue;
        }
        if !same && model.doubtful {
            let index = each.index;
            findings.unsure(format!(
                "the oracle stopped at index {index}: more was due than one entry settles"
            ));
            return;
        }
        findings.blame(Differs {
            index: each.index,
            request: Box::new(each.request.clone()),
            expected: Box::new(expected),
            told: Box::new(each.answer.clone()),
        });
        return;
    }
}

/// Judges what a reserve gave by the state before it.
fn reserve_in_log(model: &mut Model, each: &Applied, findings: &mut Findings) {
    let (Command::ReserveMessages { queue, .. }, Ok(Outcome::Reserved { messages })) =
        (&each.request.command, &each.answer)
    else {
        return;
    };
    // A repeated outcome gives nothing now.
    if each.request.retry.is_some() {
        return;
    }
    model.settle(each.log_time);
    if model.doubtful {
        return;
    }
    let project = model.projects.get(&each.request.project);
    let Some(queue) = project.and_then(|project| project.queues.get(queue)) else { return };
    for one in messages {
        let Some(position) = queue.places.get(&one.id) else { continue };
        let message = &queue.messages[position];
        let now = each.log_time;
        q4_one_holder::in_log(message, one.reservation, now, findings);
        q9_delay::in_log(message, now, findings);
        key_order::in_log(queue, *position, message, findings);
        dead_letters::in_log(queue, message, findings);
    }
    oldest_first(queue, messages, findings);
}

/// Nothing that was ready, and would not move to the dead, is older than what was given after it.
fn oldest_first(queue: &Queue, messages: &[ReservedMessage], findings: &mut Findings) {
    let given: BTreeSet<u64> =
        messages.iter().filter_map(|one| queue.places.get(&one.id).copied()).collect();
    let Some(last) = given.last() else { return };
    let stays = |position: &&u64| queue.moves_to(&queue.messages[*position]).is_none();
    let ready = queue.ready.range(..last).filter(stays);
    let Some(older) = ready.into_iter().find(|position| !given.contains(*position)) else {
        return;
    };
    let (older, given) = (&queue.messages[older], queue.messages[last].id);
    match older.reserved_count {
        0 => q7_fifo::in_log(older, given, findings),
        _ => q8_place::in_log(older, given, findings),
    }
}

/// Whether two outcomes are one. Bodies are compared where both have them: a node has those of its
/// own clients alone, and a repeated outcome those of messages that still live.
pub fn is_same(told: &Outcome, expected: &Outcome) -> bool {
    let body = |told: &ReservedMessage, expected: &ReservedMessage| {
        told.body.is_none() || told.body == expected.body
    };
    match (told, expected) {
        (Outcome::Reserved { messages: told }, Outcome::Reserved { messages: expected }) => {
            told.len() == expected.len()
                && told.iter().zip(expected).all(|(told, expected)| {
                    (told.id, told.reserved_count, told.reservation)
                        == (expected.id, expected.reserved_count, expected.reservation)
                        && body(told, expected)
                })
        }
        (Outcome::Transacted { outcomes: told }, Outcome::Transacted { outcomes: expected }) => {
            told.len() == expected.len()
                && told.iter().zip(expected).all(|(told, expected)| is_same(told, expected))
        }
        (told, expected) => told == expected,
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
