//! Q7, first deliveries in order: of two messages of a queue the older is first delivered first.
//!
//! Source: reliability 2, Q7; design 2, P2.
//! No false alarm: plain queues alone. The older one was answered before the younger was asked, or
//! stands before it in one post. Its first delivery is known by its count of one; and no reserve
//! whose reply reached nobody may have held it meanwhile, for such a one gives it back uncounted.
//! Over the log it is exact: the oracle knows what is ready.

use std::fmt;

use bessemer_model::MessageId;

use crate::arranged::{Arranged, Delivery, Post};
use crate::event::{QueueKind, QueueNumber};
use crate::model::Message;
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Overtaken {
    /// The younger one was given first.
    Clients { queue: QueueNumber, older: MessageId, younger: MessageId },
    /// In the log: never reserved and ready, and yet a younger one was given.
    InLog { older: MessageId, given: MessageId },
}

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overtaken::Clients { queue, older, younger } => write!(
                f,
                "queue {queue}: {older} was posted before {younger}, and first given after it"
            ),
            Overtaken::InLog { older, given } => {
                write!(f, "{older} was ready and had never been given, and the younger {given} was")
            }
        }
    }
}

/// A message of a plain queue: when it was posted, and its first delivery that is known.
#[derive(Clone, Copy)]
struct Line<'a> {
    called_ns: u64,
    /// Of the first answer that says so; a message whose post has no answer is older than none.
    answered_ns: Option<u64>,
    post: Post<'a>,
    first: Delivery<'a>,
}

impl Line<'_> {
    /// Whether nobody was given it before, as far as counts tell.
    fn is_first(&self) -> bool {
        self.first.got.reserved_count == 1
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let mut queues: Vec<Vec<Line<'_>>> = vec![Vec::new(); arranged.history.rules.queues.len()];
    for posts in arranged.posts.chunk_by(|one, next| one.uid == next.uid) {
        let Some(line) = line_of(arranged, posts) else { continue };
        if arranged.kind(line.post.queue) == Some(QueueKind::Plain) {
            queues[line.post.queue].push(line);
        }
    }
    for (queue, lines) in queues.iter_mut().enumerate() {
        in_posts(arranged, queue, lines, findings);
        between_posts(arranged, queue, lines, findings);
    }
}

fn line_of<'a>(arranged: &Arranged<'a>, posts: &[Post<'a>]) -> Option<Line<'a>> {
    let (_, message) = arranged.messages_of(posts[0].uid).first()?;
    let first = arranged.deliveries_of(*message).first()?;
    let answered = posts.iter().filter(|post| post.message.is_some());
    (first.queue == posts[0].queue).then_some(Line {
        called_ns: posts.iter().map(|post| post.operation.called_ns).min()?,
        answered_ns: answered.map(|post| post.operation.answered_ns).min(),
        post: posts[0],
        first: *first,
    })
}

/// Blames the pair, unless a lost reserve may have held the older one.
fn blame(
    arranged: &Arranged<'_>,
    queue: QueueNumber,
    (older, younger): (&Line<'_>, &Line<'_>),
    findings: &mut Findings,
) {
    let from = older.called_ns;
    if !arranged.perhaps_held(queue, from, younger.first.operation.answered_ns) {
        let (older, younger) = (older.first.got.message, younger.first.got.message);
        findings.blame(Overtaken::Clients { queue, older, younger });
    }
}

/// One post: each is compared with the latest given of those before it.
fn in_posts(
    arranged: &Arranged<'_>,
    queue: QueueNumber,
    lines: &mut [Line<'_>],
    findings: &mut Findings,
) {
    lines.sort_by_key(|line| line.post.place);
    for post in lines.chunk_by(|one, next| one.post.place.0 == next.post.place.0) {
        let mut latest: Option<&Line<'_>> = None;
        for younger in post {
            if let Some(older) = latest {
                findings.looked(Check::Order, 1);
                if younger.first.generation() < older.first.generation() {
                    blame(arranged, queue, (older, younger), findings);
                }
            }
            let later =
                latest.is_none_or(|latest| latest.first.generation() < younger.first.generation());
            if younger.is_first() && later {
                latest = Some(younger);
            }
        }
    }
}

/// A sweep over posts by time of call, against the latest given of all answered before.
fn between_posts(
    arranged: &Arranged<'_>,
    queue: QueueNumber,
    lines: &mut [Line<'_>],
    findings: &mut Findings,
) {
    let known = lines.iter().filter(|line| line.is_first());
    let mut older: Vec<(u64, Line<'_>)> =
        known.filter_map(|line| Some((line.answered_ns?, *line))).collect();
    older.sort_by_key(|(answered_ns, _)| *answered_ns);
    let mut older = older.into_iter().peekable();
    lines.sort_by_key(|line| line.called_ns);
    let mut latest: Option<Line<'_>> = None;
    for younger in lines.iter() {
        while let Some((_, line)) = older.next_if(|(answered, _)| *answered < younger.called_ns) {
            let later =
                latest.is_none_or(|latest| latest.first.generation() < line.first.generation());
            if later {
                latest = Some(line);
            }
        }
        let Some(older) = &latest else { continue };
        findings.looked(Check::Order, 1);
        if younger.first.generation() < older.first.generation() {
            blame(arranged, queue, (older, younger), findings);
        }
    }
}

/// Over the log: `older` was ready when `given` was given.
pub(crate) fn in_log(older: &Message, given: MessageId, findings: &mut Findings) {
    findings.blame(Overtaken::InLog { older: older.id, given });
}

#[cfg(test)]
#[path = "q7_fifo_tests.rs"]
mod tests;
