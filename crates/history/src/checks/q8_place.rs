//! Q8, place kept: one reply is oldest first, and a message that is given back, by release or
//! lapse, is the next of its queue if it is the oldest.
//!
//! Source: reliability 2, Q8; design 2, P2 ("returns to its original place").
//! No false alarm: one reply is judged where positions are ids, so not for dead letters. A message
//! is back when its release was answered, or when its time had passed before a reserve was asked, in
//! log time; nothing else was done to it until its next delivery, whose count is one more; plain
//! queues alone; and no reserve whose reply reached nobody may have held it meanwhile.
//! Over the log it is exact: the oracle knows what is ready.

use std::fmt;

use bessemer_model::{MessageId, Millis};

use crate::arranged::{Arranged, Delivery};
use crate::event::{Answer, Got, Op, Operation, QueueKind, QueueNumber};
use crate::model::Message;
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutOfPlace {
    /// One reply, and not in order.
    Reply { queue: QueueNumber, first: MessageId, second: MessageId },
    /// The older one was free again, and the younger one was given.
    Clients { queue: QueueNumber, older: MessageId, younger: MessageId },
    /// In the log: ready, and yet a younger one was given.
    InLog { older: MessageId, given: MessageId },
}

impl fmt::Display for OutOfPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfPlace::Reply { queue, first, second } => {
                write!(f, "queue {queue}: one reply gave {first} before {second}")
            }
            OutOfPlace::Clients { queue, older, younger } => write!(
                f,
                "queue {queue}: {older} was given back, and the younger {younger} came before it"
            ),
            OutOfPlace::InLog { older, given } => {
                write!(f, "{older} was ready again, and the younger {given} was given")
            }
        }
    }
}

/// A message that is free again, and when it is given next.
struct Back {
    queue: QueueNumber,
    message: MessageId,
    /// Of the reply that gave it before.
    since_ns: u64,
    /// Reserves asked later find it free: true time after a release, log time after a lapse.
    after: u64,
    next: u64,
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    for operation in &arranged.history.operations {
        if let (Op::Reserve { queue, .. }, Answer::Reserved(gots)) =
            (&operation.op, &operation.answer)
            && !matches!(arranged.kind(*queue), Some(QueueKind::Dead) | None)
        {
            reply_is_in_order(*queue, gots, findings);
        }
    }
    let (mut released, mut lapsed) = (Vec::new(), Vec::new());
    let same = |one: &Delivery<'_>, next: &Delivery<'_>| one.got.message == next.got.message;
    for deliveries in arranged.deliveries.chunk_by(same) {
        for pair in deliveries.windows(2) {
            match back(arranged, &pair[0], &pair[1]) {
                Some((back, true)) => released.push(back),
                Some((back, false)) => lapsed.push(back),
                None => {}
            }
        }
    }
    overtaken(arranged, released, |operation| operation.called_ns, findings);
    overtaken(arranged, lapsed, |operation| operation.log_low.0, findings);
}

fn reply_is_in_order(queue: QueueNumber, gots: &[Got], findings: &mut Findings) {
    for pair in gots.windows(2) {
        findings.looked(Check::Place, 1);
        let generation = |got: &Got| got.reservation.generation();
        let order = pair[0].message < pair[1].message;
        if !order || generation(&pair[0]) >= generation(&pair[1]) {
            let (first, second) = (pair[0].message, pair[1].message);
            findings.blame(OutOfPlace::Reply { queue, first, second });
        }
    }
}

/// How the message came back between the two, and whether by a release; `None` when nobody knows.
fn back(arranged: &Arranged<'_>, held: &Delivery<'_>, next: &Delivery<'_>) -> Option<(Back, bool)> {
    let plain = arranged.kind(held.queue) == Some(QueueKind::Plain);
    let counted = next.got.reserved_count == held.got.reserved_count + 1;
    if !plain || !counted || next.queue != held.queue {
        return None;
    }
    let (after, released) = match arranged.renewals_of(held.got.message, held.got.reservation) {
        [] => (held.operation.log_high.after(held.timeout).0, false),
        [(.., release)] => match (&release.op, &release.answer) {
            (Op::Release { delay: Millis::ZERO, .. }, Answer::Released) => {
                (release.answered_ns, true)
            }
            _ => return None,
        },
        _ => return None,
    };
    let back = Back {
        queue: held.queue,
        message: held.got.message,
        since_ns: held.operation.answered_ns,
        after,
        next: next.generation(),
    };
    Some((back, released))
}

/// Blames each that came back, where a younger one was asked for after that and yet given before.
///
/// A sweep over reserves, the last asked first: of those asked after `after` and given before
/// `next`, the one with the largest message is the one to look at.
fn overtaken(
    arranged: &Arranged<'_>,
    mut backs: Vec<Back>,
    asked: impl Fn(&Operation) -> u64,
    findings: &mut Findings,
) {
    backs.sort_by_key(|back| (back.queue, std::cmp::Reverse(back.after)));
    for backs in backs.chunk_by(|one, next| one.queue == next.queue) {
        let queue = backs[0].queue;
        let of_queue = arranged.deliveries.iter().filter(|each| each.queue == queue);
        let mut given: Vec<&Delivery<'_>> = of_queue.collect();
        given.sort_by_key(|delivery| delivery.generation());
        let generations: Vec<u64> = given.iter().map(|each| each.generation()).collect();
        let mut order: Vec<usize> = (0..given.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(asked(given[*at].operation)));
        let mut order = order.into_iter().peekable();
        let mut largest = Largest::new(given.len());
        for back in backs {
            while let Some(at) = order.next_if(|at| asked(given[*at].operation) > back.after) {
                largest.add(at, given[at].got.message);
            }
            let before = generations.partition_point(|generation| *generation < back.next);
            findings.looked(Check::Place, 1);
            let Some((younger, at)) = largest.before(before) else { continue };
            let until_ns = given[at].operation.answered_ns;
            if younger > back.message && !arranged.perhaps_held(queue, back.since_ns, until_ns) {
                findings.blame(OutOfPlace::Clients { queue, older: back.message, younger });
            }
        }
    }
}

/// The largest message among the first so many places, in a logarithm of steps (a Fenwick tree).
struct Largest {
    tree: Vec<Option<(MessageId, usize)>>,
}

impl Largest {
    fn new(places: usize) -> Largest {
        Largest { tree: vec![None; places + 1] }
    }

    fn add(&mut self, place: usize, message: MessageId) {
        let mut at = place + 1;
        while at < self.tree.len() {
            self.tree[at] = self.tree[at].max(Some((message, place)));
            at += at & at.wrapping_neg();
        }
    }

    fn before(&self, places: usize) -> Option<(MessageId, usize)> {
        let (mut at, mut largest) = (places, None);
        while at > 0 {
            largest = largest.max(self.tree[at]);
            at -= at & at.wrapping_neg();
        }
        largest
    }
}

/// Over the log: `older` was ready again when `given` was given.
pub(crate) fn in_log(older: &Message, given: MessageId, findings: &mut Findings) {
    findings.blame(OutOfPlace::InLog { older: older.id, given });
}

#[cfg(test)]
#[path = "q8_place_tests.rs"]
mod tests;
