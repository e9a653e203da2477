//! K1, key order: a message of an ordering key is given only when every older one of it is gone.
//!
//! Source: design 2, P2 ("with an ordering key, the next of a key waits until the one before is
//! gone"); AWS SQS FIFO message groups.
//! No false alarm: ids of one queue grow in the order of its posts, generations in the order of the
//! log's reserves; an older message that is given later was there all the time, held or not.

use std::fmt;

use bessemer_model::MessageId;

use crate::arranged::Arranged;
use crate::event::{QueueKind, QueueNumber};
use crate::model::{Message, Queue};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyOvertaken {
    /// The younger one was given, and the older one again after it.
    Clients { queue: QueueNumber, key: u64, older: MessageId, younger: MessageId },
    /// In the log: given while an older one of its key was in the queue.
    InLog { older: MessageId, given: MessageId },
}

impl fmt::Display for KeyOvertaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyOvertaken::Clients { queue, key, older, younger } => write!(
                f,
                "queue {queue}, key {key}: {younger} was given while {older} was still there"
            ),
            KeyOvertaken::InLog { older, given } => {
                write!(f, "{given} was given while {older} of its key was still there")
            }
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let mut lines: Vec<(QueueNumber, u64, MessageId)> = Vec::new();
    for (uid, message) in &arranged.messages {
        let Some(post) = arranged.posts_of(*uid).first() else { continue };
        // The dead are moved one by one, each when it is next to be given.
        let keyed = arranged.kind(post.queue) == Some(QueueKind::Keyed);
        lines.extend(post.key.filter(|_| keyed).map(|key| (post.queue, key, *message)));
    }
    lines.sort_unstable();
    for line in lines.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1)) {
        let mut last: Option<(u64, MessageId)> = None;
        for (queue, key, younger) in line {
            let deliveries = arranged.deliveries_of(*younger);
            let (Some(first), Some(newest)) = (deliveries.first(), deliveries.last()) else {
                continue;
            };
            if let Some((generation, older)) = last {
                findings.looked(Check::KeyOrder, 1);
                if first.generation() < generation {
                    let (queue, key, younger) = (*queue, *key, *younger);
                    findings.blame(KeyOvertaken::Clients { queue, key, older, younger });
                }
            }
            last = last.max(Some((newest.generation(), *younger)));
        }
    }
}

/// Over the log: `message`, at `position` of `queue`, is given.
pub(crate) fn in_log(queue: &Queue, position: u64, message: &Message, findings: &mut Findings) {
    let Some(line) = message.key.as_ref().and_then(|key| queue.keys.get(key)) else { return };
    let Some(older) = line.first().filter(|first| **first < position) else { return };
    // The older one may move to the dead in the same reserve.
    if queue.settings.dead_letter.is_none() {
        let older = queue.messages[older].id;
        findings.blame(KeyOvertaken::InLog { older, given: message.id });
    }
}

#[cfg(test)]
#[path = "key_order_tests.rs"]
mod tests;
