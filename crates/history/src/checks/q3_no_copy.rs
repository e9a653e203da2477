//! Q3, no copy: a post makes each message once, however often it was sent.
//!
//! Source: reliability 2, Q3; design 3, "Forwarding" (a lost answer between nodes doubles nothing)
//! and "Keyed retries". Found so in the wild: Redpanda 21.10.1, issue 3039 (duplicates).
//! No false alarm: with an idempotency key one message is right, without one as many as posts that
//! may have been done; a gap in a lane counts only where the log was recorded from its first entry.

use std::fmt;

use bessemer_model::{Command, LaneSeq, LogIndex, MessageId};

use crate::arranged::Arranged;
use crate::event::{Applied, Uid};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Copied {
    /// One uid is more messages than posts allow.
    Message { uid: Uid, messages: Vec<MessageId>, allowed: usize },
    /// A part of a lane was applied again, or before an earlier one.
    Again { lane: LaneSeq, place: u32, index: LogIndex, after: LaneSeq },
    /// A part of a lane was applied without the one before it.
    Skipped { lane: LaneSeq, place: u32, index: LogIndex },
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Copied::Message { uid, messages, allowed } => {
                write!(f, "uid {uid} is messages {messages:?}, where {allowed} are allowed")
            }
            Copied::Again { lane, place, index, after } => write!(
                f,
                "request {place} of {lane:?} was applied at {index}, though its lane had come to \
                 {after:?}"
            ),
            Copied::Skipped { lane, place, index } => {
                write!(f, "request {place} of {lane:?} was applied at {index}, out of turn")
            }
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    for seen in arranged.messages.chunk_by(|one, next| one.0 == next.0) {
        let uid = seen[0].0;
        let posts = arranged.posts_of(uid);
        let again = posts.len().saturating_sub(1);
        findings.looked(Check::NoCopy, again as u64);
        let tried = posts.iter().filter(|post| !post.is_certainly_nothing()).count();
        let allowed = if posts.iter().all(|post| post.keyed) { 1 } else { tried.max(1) };
        if seen.len() > allowed {
            let messages = seen.iter().map(|(_, message)| *message).collect();
            findings.blame(Copied::Message { uid, messages, allowed });
        }
    }
    lanes(&arranged.history.applied, findings);
}

/// Each part of each lane is applied once, in its turn.
fn lanes(applied: &[Applied], findings: &mut Findings) {
    let first = applied.first().map(|first| &first.request.command);
    let from_the_first = matches!(first, Some(Command::InitGroup { .. }));
    // The newest part of each node's lane, and how many of its requests were applied.
    let mut newest: Vec<(LaneSeq, u32)> = Vec::new();
    for each in applied {
        let Some((lane, place)) = each.lane else { continue };
        findings.looked(Check::NoCopy, 1);
        let index = each.index;
        let Some(known) = newest.iter_mut().find(|(known, _)| known.node == lane.node) else {
            if from_the_first && (lane.seq, place) != (1, 0) {
                findings.blame(Copied::Skipped { lane, place, index });
            }
            newest.push((lane, place));
            continue;
        };
        let (after, last) = *known;
        if (lane, place) <= (after, last) {
            findings.blame(Copied::Again { lane, place, index, after });
            continue;
        }
        let next = match lane.boot == after.boot {
            true if lane.seq == after.seq => place == last + 1,
            true => lane.seq == after.seq + 1 && place == 0,
            false => !from_the_first || (lane.seq, place) == (1, 0),
        };
        if !next {
            findings.blame(Copied::Skipped { lane, place, index });
        }
        *known = (lane, place);
    }
}

#[cfg(test)]
#[path = "q3_no_copy_tests.rs"]
mod tests;
