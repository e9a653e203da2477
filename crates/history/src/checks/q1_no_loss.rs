//! Q1, no loss: what was posted is acknowledged in the end, for the drain acknowledges all it finds.
//!
//! Source: reliability 2, Q1; design 2, P1. Found so in the wild: NATS JetStream 2.12.1 lost
//! 131,418 of 930,005 acknowledged messages after power failures.
//! No false alarm: only in a run whose queues were all found empty (`drained_ns`), and whose
//! messages do not expire in it; an ack of unknown outcome counts as one that removed its message.

use std::fmt;

use bessemer_model::MessageId;

use crate::applied::Content;
use crate::arranged::Arranged;
use crate::event::Uid;
use crate::verdict::{Check, Findings};

/// A message that is neither there nor acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    pub uid: Uid,
    /// Every message the uid was seen as.
    pub messages: Vec<MessageId>,
    /// When its post was answered; `None` when only the log tells that it was done.
    pub posted_ns: Option<u64>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost { uid, messages, posted_ns } = self;
        write!(
            f,
            "uid {uid}, posted as {messages:?} (answered at {posted_ns:?} ns), was never acked"
        )
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    if arranged.history.drained_ns.is_none() {
        return;
    }
    for posts in arranged.posts.chunk_by(|one, next| one.uid == next.uid) {
        let uid = posts[0].uid;
        let answered = posts.iter().find(|post| post.message.is_some());
        let logged = |place: usize| arranged.history.applied[place].answer.is_ok();
        if answered.is_none() && !arranged.applied.find(Content::Uid(uid)).any(logged) {
            continue;
        }
        findings.looked(Check::NoLoss, 1);
        let messages = arranged.messages_of(uid).iter().map(|(_, message)| *message);
        if messages.clone().all(|message| arranged.acks_of(message).is_empty()) {
            let posted_ns = answered.map(|post| post.operation.answered_ns);
            findings.blame(Lost { uid, messages: messages.collect(), posted_ns });
        }
    }
}

#[cfg(test)]
#[path = "q1_no_loss_tests.rs"]
mod tests;
