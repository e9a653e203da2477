//! Q2, no ghost: what is delivered was posted, to this queue, with this body.
//!
//! Source: reliability 2, Q2; design 2, P10 ("not done" is certain).
//! No false alarm: a post of unknown outcome may have been done, a refused one was not; a body
//! names its uid, and another body is told by the client (`Got::uid` is `None`).

use std::fmt;

use bessemer_model::MessageId;

use crate::arranged::Arranged;
use crate::event::{QueueKind, QueueNumber, Uid};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ghost {
    /// Nobody posted it, or every post of it was certainly not done.
    NeverPosted { uid: Uid, message: MessageId, posts: usize },
    /// A body that nobody wrote.
    StrangeBody { message: MessageId, queue: QueueNumber },
    /// One message was seen with two bodies.
    TwoBodies { message: MessageId, uids: Vec<Uid> },
    /// Delivered from a queue that it was not posted to, and does not move to.
    Strayed { message: MessageId, uid: Uid, posted: QueueNumber, delivered: QueueNumber },
}

impl fmt::Display for Ghost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ghost::NeverPosted { uid, message, posts } => {
                write!(f, "uid {uid} is message {message}, and none of {posts} posts was done")
            }
            Ghost::StrangeBody { message, queue } => {
                write!(f, "message {message} of queue {queue} came with a body nobody posted")
            }
            Ghost::TwoBodies { message, uids } => {
                write!(f, "message {message} was seen as uids {uids:?}")
            }
            Ghost::Strayed { message, uid, posted, delivered } => write!(
                f,
                "message {message} (uid {uid}) was posted to queue {posted} and came from queue \
                 {delivered}"
            ),
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    findings.looked(Check::NoGhost, arranged.uids.len() as u64);
    for seen in arranged.uids.chunk_by(|one, next| one.0 == next.0).filter(|seen| seen.len() > 1) {
        let uids = seen.iter().map(|(_, uid)| *uid).collect();
        findings.blame(Ghost::TwoBodies { message: seen[0].0, uids });
    }
    for (uid, message) in &arranged.messages {
        let posts = arranged.posts_of(*uid);
        if posts.iter().all(|post| post.is_certainly_nothing()) {
            let (uid, message, posts) = (*uid, *message, posts.len());
            findings.blame(Ghost::NeverPosted { uid, message, posts });
        }
    }
    for delivery in &arranged.deliveries {
        let (message, queue) = (delivery.got.message, delivery.queue);
        let Some(uid) = delivery.got.uid else {
            findings.blame(Ghost::StrangeBody { message, queue });
            continue;
        };
        let Some(post) = arranged.posts_of(uid).first() else { continue };
        let moved = match arranged.kind(post.queue) {
            Some(QueueKind::Dying { into, .. }) => into == queue,
            _ => false,
        };
        if post.queue != queue && !moved {
            let (posted, delivered) = (post.queue, queue);
            findings.blame(Ghost::Strayed { message, uid, posted, delivered });
        }
    }
}

#[cfg(test)]
#[path = "q2_no_ghost_tests.rs"]
mod tests;
