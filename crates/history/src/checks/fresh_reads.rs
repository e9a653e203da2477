//! F1, fresh reads: a read sees every write that was answered before it began.
//!
//! Source: design 2, P2; Redis-Raft (Jepsen 2020: stale reads) and etcd's strict serializability.
//! No false alarm: a message is there from the answer of its post until the first ack that may have
//! removed it is asked; the dying move to another queue, so that not seeing them tells nothing.

use std::fmt;

use bessemer_model::{MessageId, NodeId};

use crate::arranged::Arranged;
use crate::event::{Answer, Op, QueueKind};
use crate::verdict::{Check, Findings};

/// A read of the past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stale {
    pub message: MessageId,
    pub node: NodeId,
    /// Seen, though it was gone; else not seen, though it was there.
    pub seen: bool,
    pub called_ns: u64,
    /// When the write that was not seen was answered.
    pub written_ns: u64,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stale { message, node, seen, called_ns, written_ns } = self;
        let what = if *seen { "seen, though acked" } else { "not seen, though posted" };
        write!(
            f,
            "message {message}, read from node {node} at {called_ns} ns: {what} (answered at \
             {written_ns} ns)"
        )
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    for operation in &arranged.history.operations {
        let (Op::Look { queue, message }, Answer::Seen(seen)) = (&operation.op, &operation.answer)
        else {
            continue;
        };
        let (called_ns, acks) = (operation.called_ns, arranged.acks_of(*message));
        let written_ns = if *seen {
            let mut gone = acks.iter().filter(|ack| ack.is_sure());
            gone.next().map(|ack| ack.operation.answered_ns)
        } else {
            let asked = acks.iter().any(|ack| ack.operation.called_ns < operation.answered_ns);
            let dies = matches!(arranged.kind(*queue), Some(QueueKind::Dying { .. }));
            let posts = arranged.uid_of(*message).map(|uid| arranged.posts_of(uid));
            let mut posts = posts.unwrap_or_default().iter().filter(|post| {
                post.message == Some(*message) && post.queue == *queue && !asked && !dies
            });
            posts.next().map(|post| post.operation.answered_ns)
        };
        let Some(written_ns) = written_ns.filter(|written_ns| *written_ns < called_ns) else {
            // Opportunities are reads that could have been stale.
            let posted = arranged.uid_of(*message).is_some();
            findings.looked(Check::FreshReads, u64::from(posted));
            continue;
        };
        findings.looked(Check::FreshReads, 1);
        let (message, node, seen) = (*message, operation.node, *seen);
        findings.blame(Stale { message, node, seen, called_ns, written_ns });
    }
}

#[cfg(test)]
#[path = "fresh_reads_tests.rs"]
mod tests;
