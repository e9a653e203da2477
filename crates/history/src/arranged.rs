//! A history, arranged: sorted lists in which the checks look things up.
//!
//! Not here: judging. Everything is made once, in n log n.

use bessemer_model::{MessageId, Millis, ReservationId};

use crate::applied::AppliedIndex;
use crate::event::{
    Answer, Got, Held, History, Op, Operation, QueueKind, QueueNumber, Tenant, Uid,
};

/// A message, as one reserve delivered it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub operation: &'a Operation,
    pub queue: QueueNumber,
    pub got: Got,
    pub timeout: Millis,
}

impl Delivery<'_> {
    pub fn generation(&self) -> u64 {
        self.got.reservation.generation()
    }
}

/// One uid of one post, or of a swap.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    pub uid: Uid,
    pub operation: &'a Operation,
    pub queue: QueueNumber,
    /// First uid of its post, and its place there.
    pub place: (Uid, usize),
    pub delay: Millis,
    pub key: Option<u64>,
    pub keyed: bool,
    /// Where the answer tells it.
    pub message: Option<MessageId>,
}

impl Post<'_> {
    pub fn is_certainly_nothing(&self) -> bool {
        self.operation.answer.is_certainly_nothing()
    }
}

/// An ack, alone or in a swap, that may have removed its message.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    pub operation: &'a Operation,
    pub held: Held,
}

impl Ack<'_> {
    /// It certainly has.
    pub fn is_sure(&self) -> bool {
        matches!(self.operation.answer, Answer::Acked(1) | Answer::Swapped(_))
    }
}

/// The history and its lists. Those of one message, or uid, stand together.
pub struct Arranged<'a> {
    pub history: &'a History,
    pub applied: AppliedIndex,
    /// By message, then generation.
    pub deliveries: Vec<Delivery<'a>>,
    /// By uid, then time of answer.
    pub posts: Vec<Post<'a>>,
    /// Which uids a message was seen as, once each.
    pub uids: Vec<(MessageId, Uid)>,
    /// The same by uid.
    pub messages: Vec<(Uid, MessageId)>,
    /// By message, then time of answer.
    pub acks: Vec<Ack<'a>>,
    /// By message and generation: touches and releases that may have been done, in order of
    /// answers.
    pub renewals: Vec<(MessageId, u64, &'a Operation)>,
    /// By queue: when a reserve whose reply reached nobody may have held messages.
    lost: Vec<Lost>,
    places: Places,
}

/// Times at which lost reserves of one queue may have held something.
#[derive(Clone, Debug, Default)]
struct Lost {
    /// Begin, and the latest end of all that began no later; by begin.
    spans: Vec<(u64, u64)>,
}

/// The items whose key is `key`, of a list sorted by it.
pub fn slice_of<T, K: Ord>(list: &[T], key: K, key_of: impl Fn(&T) -> K) -> &[T] {
    let from = list.partition_point(|item| key_of(item) < key);
    let to = from + list[from..].partition_point(|item| key_of(item) == key);
    &list[from..to]
}

/// Where the items of each number stand in a list sorted by it.
///
/// Numbers of a run are given one after the other, so the place of one is guessed, and looked for
/// from there: a few steps in place of a binary search over all of memory.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    numbers: Vec<u64>,
    /// One more than numbers: the last is the length of the list.
    starts: Vec<usize>,
}

impl Starts {
    /// `numbers` of the items, ascending.
    pub fn new(numbers: impl Iterator<Item = u64>) -> Starts {
        let mut starts = Starts::default();
        let mut length = 0;
        for number in numbers {
            if starts.numbers.last() != Some(&number) {
                starts.numbers.push(number);
                starts.starts.push(length);
            }
            length += 1;
        }
        starts.starts.push(length);
        starts
    }

    /// The items of `number`.
    pub fn slice<'a, T>(&self, list: &'a [T], number: u64) -> &'a [T] {
        match self.find(number) {
            Some(at) => &list[self.starts[at]..self.starts[at + 1]],
            None => &[],
        }
    }

    fn find(&self, number: u64) -> Option<usize> {
        let (first, last) = (*self.numbers.first()?, *self.numbers.last()?);
        if number < first || number > last {
            return None;
        }
        let steps = self.numbers.len() as u128 - 1;
        let span = u128::from(last - first).max(1);
        let guess = (u128::from(number - first) * steps / span) as usize;
        // The number stands between `low` and `high`, ends included.
        let (mut low, mut high, mut step) = (guess, guess, 1);
        while self.numbers[low] > number {
            high = low;
            low = low.saturating_sub(step);
            step *= 2;
        }
        while self.numbers[high] < number {
            low = high;
            high = (high + step).min(self.numbers.len() - 1);
            step *= 2;
        }
        self.numbers[low..=high].binary_search(&number).ok().map(|at| low + at)
    }
}

/// Where the lists of `Arranged` have what.
#[derive(Clone, Debug, Default)]
struct Places {
    deliveries: Starts,
    posts: Starts,
    uids: Starts,
    messages: Starts,
    acks: Starts,
    renewals: Starts,
}

impl<'a> Arranged<'a> {
    pub fn new(history: &'a History) -> Arranged<'a> {
        let queues = history.rules.queues.len();
        let mut arranged = Arranged {
            history,
            applied: AppliedIndex::new(&history.applied),
            deliveries: Vec::new(),
            posts: Vec::new(),
            uids: Vec::new(),
            messages: Vec::new(),
            acks: Vec::new(),
            renewals: Vec::new(),
            lost: vec![Lost::default(); queues],
            places: Places::default(),
        };
        for operation in &history.operations {
            arranged.take(operation);
        }
        arranged.deliveries.sort_by_cached_key(|each| (each.got.message, each.generation()));
        arranged.posts.sort_by_cached_key(|post| (post.uid, post.operation.answered_ns));
        let named = arranged.posts.iter().filter_map(|post| Some((post.message?, post.uid)));
        arranged.uids = named.collect();
        let got = arranged.deliveries.iter().map(|each| each.got);
        arranged.uids.extend(got.filter_map(|got| Some((got.message, got.uid?))));
        arranged.uids.sort_unstable();
        arranged.uids.dedup();
        arranged.messages = arranged.uids.iter().map(|(message, uid)| (*uid, *message)).collect();
        arranged.messages.sort_unstable();
        arranged.acks.sort_by_cached_key(|ack| (ack.held.message, ack.operation.answered_ns));
        arranged.renewals.sort_by_cached_key(|(message, generation, operation)| {
            (*message, *generation, operation.answered_ns)
        });
        arranged.places = Places {
            deliveries: Starts::new(arranged.deliveries.iter().map(|each| each.got.message.0)),
            posts: Starts::new(arranged.posts.iter().map(|post| post.uid)),
            uids: Starts::new(arranged.uids.iter().map(|(message, _)| message.0)),
            messages: Starts::new(arranged.messages.iter().map(|(uid, _)| *uid)),
            acks: Starts::new(arranged.acks.iter().map(|ack| ack.held.message.0)),
            renewals: Starts::new(arranged.renewals.iter().map(|(message, ..)| message.0)),
        };
        for lost in &mut arranged.lost {
            lost.spans.sort_unstable();
            let mut latest = 0;
            for (_, end) in &mut lost.spans {
                latest = latest.max(*end);
                *end = latest;
            }
        }
        arranged
    }

    fn take(&mut self, operation: &'a Operation) {
        let unsure = !operation.answer.is_certainly_nothing();
        match (&operation.op, &operation.answer) {
            (Op::Post { queue, uids, delay, key, keyed }, answer) => {
                let ids = match answer {
                    Answer::Posted(ids) => ids.as_slice(),
                    _ => &[],
                };
                self.posts.extend(uids.iter().enumerate().map(|(at, uid)| Post {
                    uid: *uid,
                    operation,
                    queue: *queue,
                    place: (uids[0], at),
                    delay: *delay,
                    key: *key,
                    keyed: *keyed,
                    message: ids.get(at).copied(),
                }));
            }
            (Op::Swap { held, to, uid }, answer) => {
                let message = match answer {
                    Answer::Swapped(message) => Some(*message),
                    _ => None,
                };
                self.posts.push(Post {
                    uid: *uid,
                    operation,
                    queue: *to,
                    place: (*uid, 0),
                    delay: Millis::ZERO,
                    key: None,
                    keyed: false,
                    message,
                });
                self.acks.extend(unsure.then_some(Ack { operation, held: *held }));
            }
            (Op::Reserve { queue, timeout, .. }, Answer::Reserved(gots)) => {
                self.deliveries.extend(gots.iter().map(|got| Delivery {
                    operation,
                    queue: *queue,
                    got: *got,
                    timeout: *timeout,
                }));
            }
            (Op::Reserve { queue, .. }, _) => {
                let until = operation.answered_ns.saturating_add(self.history.rules.undo_ns);
                if let Some(lost) = self.lost.get_mut(*queue) {
                    lost.spans.push((operation.called_ns, until));
                }
            }
            (Op::Ack(held), _) if unsure => self.acks.push(Ack { operation, held: *held }),
            (Op::Touch { held, .. } | Op::Release { held, .. }, _) if unsure => {
                self.renewals.push((held.message, held.reservation.generation(), operation));
            }
            (Op::Ack(_) | Op::Touch { .. } | Op::Release { .. }, _) => {} // Nothing was done.
            (Op::Look { .. } | Op::Mint { .. } | Op::Revoke { .. }, _) => {} // Of no message.
        }
    }

    pub fn kind(&self, queue: QueueNumber) -> Option<QueueKind> {
        self.history.rules.queues.get(queue).map(|rules| rules.kind)
    }

    pub fn tenant(&self, queue: QueueNumber) -> Option<Tenant> {
        self.history.rules.queues.get(queue).map(|rules| rules.tenant)
    }

    /// Deliveries of one message, oldest first.
    pub fn deliveries_of(&self, message: MessageId) -> &[Delivery<'a>] {
        self.places.deliveries.slice(&self.deliveries, message.0)
    }

    /// Posts of one uid, in order of answers.
    pub fn posts_of(&self, uid: Uid) -> &[Post<'a>] {
        self.places.posts.slice(&self.posts, uid)
    }

    pub fn messages_of(&self, uid: Uid) -> &[(Uid, MessageId)] {
        self.places.messages.slice(&self.messages, uid)
    }

    /// The first uid a message was seen as.
    pub fn uid_of(&self, message: MessageId) -> Option<Uid> {
        self.places.uids.slice(&self.uids, message.0).first().map(|(_, uid)| *uid)
    }

    /// Acks that may have removed the message, in order of answers.
    pub fn acks_of(&self, message: MessageId) -> &[Ack<'a>] {
        self.places.acks.slice(&self.acks, message.0)
    }

    /// Touches and releases of one reservation that may have been done.
    pub fn renewals_of(
        &self,
        message: MessageId,
        reservation: ReservationId,
    ) -> &[(MessageId, u64, &'a Operation)] {
        let of_message = self.places.renewals.slice(&self.renewals, message.0);
        slice_of(of_message, reservation.generation(), |(_, generation, _)| *generation)
    }

    /// Whether a reserve of `queue` whose reply reached nobody may have held messages at some time
    /// between the two, and given them back uncounted.
    pub fn perhaps_held(&self, queue: QueueNumber, from_ns: u64, to_ns: u64) -> bool {
        let Some(lost) = self.lost.get(queue) else { return false };
        let began = lost.spans.partition_point(|(begin, _)| *begin <= to_ns);
        began > 0 && lost.spans[began - 1].1 >= from_ns
    }
}
