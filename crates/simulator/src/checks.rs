//! The promises, each as one check over the history of a run.
//!
//! Every rule is sound: it never blames a run that kept the promises, whatever answers were lost.
//! Each counts its opportunities, since a check that examined nothing has shown nothing.
//! Sources: design section 2 (P1 to P6); the names Q1 to Q9 are those of the usual queue checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bessemer_model::{MessageId, Millis, Rejection};

use bessemer_history::event::{
    Answer, Got, Held, Op, Operation as Event, QueueKind as Kind, QueueNumber, Uid,
};

use crate::queues::QUEUES;

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub promise: &'static str,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.text)
    }
}

/// What was found, and how often each check had something to look at.
#[derive(Clone, Default, Debug)]
pub struct Findings {
    pub violations: Vec<Violation>,
    pub opportunities: BTreeMap<&'static str, u64>,
}

/// Violations kept of one run: the first tells the story.
const VIOLATIONS_MAX: usize = 20;

impl Findings {
    pub fn blame(&mut self, promise: &'static str, text: String) {
        let violation = Violation { promise, text };
        if self.violations.len() < VIOLATIONS_MAX && !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    pub fn looked(&mut self, promise: &'static str) {
        self.looked_times(promise, 1);
    }

    pub fn looked_times(&mut self, promise: &'static str, times: u64) {
        *self.opportunities.entry(promise).or_default() += times;
    }
}

/// One delivery of a message.
#[derive(Clone, Copy)]
struct Delivery<'a> {
    event: &'a Event,
    queue: QueueNumber,
    got: Got,
    timeout: Millis,
}

impl Delivery<'_> {
    fn generation(&self) -> u64 {
        self.got.reservation.generation()
    }
}

/// The history, arranged.
struct Index<'a> {
    events: &'a [Event],
    /// By message, in order of generation.
    deliveries: BTreeMap<MessageId, Vec<Delivery<'a>>>,
    /// Which message each uid was seen in, and every message of each uid.
    uid_of: BTreeMap<MessageId, Uid>,
    messages_of: BTreeMap<Uid, BTreeSet<MessageId>>,
    posts: BTreeMap<Uid, Vec<&'a Event>>,
}

/// Checks the whole history of a run that was healed and drained.
pub fn check(events: &[Event]) -> Findings {
    let mut findings = Findings::default();
    let index = arrange(events, &mut findings);
    answers_fit(&index, &mut findings);
    nothing_is_lost(&index, &mut findings);
    nothing_is_made_up_or_copied(&index, &mut findings);
    one_holder(&index, &mut findings);
    acks_are_final_and_single(&index, &mut findings);
    first_deliveries_keep_order(&index, &mut findings);
    released_messages_keep_their_place(&index, &mut findings);
    keys_wait(&index, &mut findings);
    delays_are_kept(&index, &mut findings);
    swaps_are_whole(&index, &mut findings);
    the_dying_move(&index, &mut findings);
    reads_are_fresh(&index, &mut findings);
    findings
}

fn arrange<'a>(events: &'a [Event], findings: &mut Findings) -> Index<'a> {
    let mut index = Index {
        events,
        deliveries: BTreeMap::new(),
        uid_of: BTreeMap::new(),
        messages_of: BTreeMap::new(),
        posts: BTreeMap::new(),
    };
    let mut name = |message: MessageId, uid: Uid, findings: &mut Findings| {
        let known = *index.uid_of.entry(message).or_insert(uid);
        if known != uid {
            findings.blame("Q2 no ghost", format!("message {message} was {known}, then {uid}"));
        }
        index.messages_of.entry(uid).or_default().insert(message);
    };
    for event in events {
        match (&event.op, &event.answer) {
            (Op::Post { uids, .. }, answer) => {
                for uid in uids {
                    index.posts.entry(*uid).or_default().push(event);
                }
                if let Answer::Posted(ids) = answer {
                    for (uid, id) in uids.iter().zip(ids) {
                        name(*id, *uid, findings);
                    }
                }
            }
            (Op::Swap { uid, .. }, answer) => {
                index.posts.entry(*uid).or_default().push(event);
                if let Answer::Swapped(id) = answer {
                    name(*id, *uid, findings);
                }
            }
            (Op::Reserve { queue, timeout, .. }, Answer::Reserved(gots)) => {
                for got in gots {
                    match got.uid {
                        Some(uid) => name(got.message, uid, findings),
                        None => findings.blame(
                            "Q2 no ghost",
                            format!("message {} was delivered with a strange body", got.message),
                        ),
                    }
                    let delivery = Delivery { event, queue: *queue, got: *got, timeout: *timeout };
                    index.deliveries.entry(got.message).or_default().push(delivery);
                }
            }
            _ => {}
        }
    }
    for deliveries in index.deliveries.values_mut() {
        deliveries.sort_by_key(Delivery::generation);
    }
    index
}

/// Refusals that a client of this workload can meet.
fn answers_fit(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        findings.looked("P10 honest answers");
        let fits = match &event.answer {
            Answer::Nonsense(_) => false,
            Answer::Refused(rejection) => matches!(
                rejection,
                Rejection::ReservationStale { .. }
                    | Rejection::ReservationRequired { .. }
                    | Rejection::MessageMissing { .. }
            ),
            _ => true,
        };
        if !fits {
            findings.blame("P10 honest answers", format!("{event:?}"));
        }
    }
}

/// Every ack that may have removed a message, alone or in a transaction.
fn acks<'a>(index: &Index<'a>) -> impl Iterator<Item = (&'a Event, Held)> {
    index.events.iter().filter_map(|event| match &event.op {
        Op::Ack(held) | Op::Swap { held, .. } if !event.answer.is_certainly_nothing() => {
            Some((event, *held))
        }
        _ => None,
    })
}

/// Q1: what was posted is acknowledged in the end; the drain acknowledges all it finds.
fn nothing_is_lost(index: &Index<'_>, findings: &mut Findings) {
    let acked: BTreeSet<MessageId> = acks(index).map(|(_, held)| held.message).collect();
    for (uid, posts) in &index.posts {
        let done =
            posts.iter().find(|post| matches!(post.answer, Answer::Posted(_) | Answer::Swapped(_)));
        let Some(post) = done else { continue };
        findings.looked("Q1 no loss");
        let messages = index.messages_of.get(uid).cloned().unwrap_or_default();
        if messages.is_disjoint(&acked) {
            findings.blame(
                "Q1 no loss",
                format!("uid {uid} was posted as {messages:?} by {post:?} and never acked"),
            );
        }
    }
}

/// Q2 and Q3: what is delivered was posted, once.
fn nothing_is_made_up_or_copied(index: &Index<'_>, findings: &mut Findings) {
    for (uid, messages) in &index.messages_of {
        findings.looked("Q2 no ghost");
        let posts = index.posts.get(uid).map_or(&[][..], Vec::as_slice);
        if posts.iter().all(|post| post.answer.is_certainly_nothing()) {
            let text = format!("uid {uid} is message {messages:?} but was never posted: {posts:?}");
            findings.blame("Q2 no ghost", text);
        }
        findings.looked_times("Q3 no copy", u64::from(posts.len() > 1));
        if messages.len() > 1 {
            let text = format!("uid {uid} is {messages:?} after {} posts: {posts:?}", posts.len());
            findings.blame("Q3 no copy", text);
        }
    }
}

/// Q4: a message reserved again was given up before, or its time had passed in log time.
fn one_holder(index: &Index<'_>, findings: &mut Findings) {
    let ends = known_ends(index);
    for deliveries in index.deliveries.values() {
        for pair in deliveries.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            findings.looked("Q4 one holder");
            if first.generation() == second.generation() {
                let text = format!("one reservation twice: {:?} {:?}", first.got, second.got);
                findings.blame("Q4 one holder", text);
                continue;
            }
            let until = match ends.get(&(first.got.message, first.generation())) {
                Some(End::Unsure) => continue,
                Some(End::At(until)) => *until,
                None => first.event.log_low.after(first.timeout),
            };
            if second.event.log_high < until {
                let text = format!(
                    "{:?} was held until {until} at least, and reserved again by {:?} at {} at most",
                    first.got, second.got, second.event.log_high
                );
                findings.blame("Q4 one holder", text);
            }
        }
    }
}

/// When a reservation ends, where something was done to it after the reserve.
enum End {
    At(Millis),
    /// It was, or may have been, given up; or a touch of it has no answer.
    Unsure,
}

/// By message and generation. The last touch counts: a holder touches one after the other.
fn known_ends(index: &Index<'_>) -> BTreeMap<(MessageId, u64), End> {
    let mut ends = BTreeMap::new();
    for event in index.events {
        let (held, end) = match (&event.op, &event.answer) {
            (_, answer) if answer.is_certainly_nothing() => continue,
            (Op::Release { held, .. }, _) => (held, End::Unsure),
            (Op::Touch { held, timeout }, Answer::Touched(_)) => {
                (held, End::At(event.log_low.after(*timeout)))
            }
            (Op::Touch { held, .. }, _) => (held, End::Unsure),
            _ => continue,
        };
        let key = (held.message, held.reservation.generation());
        if !matches!(ends.get(&key), Some(End::Unsure)) {
            ends.insert(key, end);
        }
    }
    ends
}

/// Q5 and Q6: one ack of a message succeeds, by its newest reservation, and is the last of it.
fn acks_are_final_and_single(index: &Index<'_>, findings: &mut Findings) {
    let mut done: BTreeMap<MessageId, &Event> = BTreeMap::new();
    for (event, held) in acks(index) {
        let sure = matches!(event.answer, Answer::Acked(1) | Answer::Swapped(_));
        if !sure {
            continue;
        }
        findings.looked("Q6 one ack");
        if let Some(other) = done.insert(held.message, event) {
            findings.blame("Q6 one ack", format!("{other:?} and {event:?}"));
        }
        let newest = index.deliveries.get(&held.message).and_then(|all| all.last());
        if let Some(newest) = newest {
            findings.looked("Q5 ack final");
            let after = newest.event.called_ns > event.answered_ns;
            if after || newest.generation() > held.reservation.generation() {
                let text = format!("{event:?} and yet delivered as {:?}", newest.got);
                findings.blame("Q5 ack final", text);
            }
        }
    }
}

/// The first delivery of each message of a queue, where the first is known to be the first.
fn first_deliveries<'a>(index: &Index<'a>, queue: QueueNumber) -> BTreeMap<Uid, Delivery<'a>> {
    let all = index.deliveries.values().filter_map(|deliveries| deliveries.first());
    all.filter(|first| first.queue == queue && first.got.reserved_count == 1)
        .filter_map(|first| Some((first.got.uid?, *first)))
        .collect()
}

/// A message of a plain queue: between which moments it was posted, and its first delivery.
struct Line<'a> {
    called_ns: u64,
    /// Of the first answer that says so; a message whose post has no answer is older than none.
    answered_ns: Option<u64>,
    /// First uid of its post, and its place there.
    post: (Uid, usize),
    first: Delivery<'a>,
}

fn line_up<'a>(index: &Index<'a>, queue: QueueNumber) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for (uid, first) in first_deliveries(index, queue) {
        let Some(posts) = index.posts.get(&uid) else { continue };
        let Op::Post { uids, .. } = &posts[0].op else { continue };
        let answered = posts.iter().filter(|post| matches!(post.answer, Answer::Posted(_)));
        lines.push(Line {
            called_ns: posts.iter().map(|post| post.called_ns).min().unwrap_or(u64::MAX),
            answered_ns: answered.map(|post| post.answered_ns).min(),
            post: (uids[0], uids.iter().position(|other| *other == uid).unwrap_or(0)),
            first,
        });
    }
    lines
}

/// Q7: of two messages posted one after the other, or in one post, the older is delivered first.
fn first_deliveries_keep_order(index: &Index<'_>, findings: &mut Findings) {
    for queue in (0..QUEUES.len()).filter(|queue| QUEUES[*queue].kind == Kind::Plain) {
        let lines = line_up(index, queue);
        for older in &lines {
            for younger in &lines {
                let one_post = older.post.0 == younger.post.0 && older.post.1 < younger.post.1;
                let after = older.answered_ns.is_some_and(|at| at < younger.called_ns);
                if !(after || one_post) {
                    continue;
                }
                findings.looked("Q7 order");
                if younger.first.generation() < older.first.generation() {
                    let text = format!(
                        "queue {queue}: {:?} was posted before {:?} and delivered after it",
                        older.first.got, younger.first.got
                    );
                    findings.blame("Q7 order", text);
                }
            }
        }
    }
}

/// Q8: a released message is the next of its queue if it was the oldest.
fn released_messages_keep_their_place(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let (Op::Release { held, delay }, Answer::Released) = (&event.op, &event.answer) else {
            continue;
        };
        if QUEUES[held.queue].kind != Kind::Plain || *delay != Millis::ZERO {
            continue;
        }
        let Some(deliveries) = index.deliveries.get(&held.message) else { continue };
        let generation = held.reservation.generation();
        let place = deliveries.iter().position(|each| each.generation() == generation);
        let Some(place) = place else { continue };
        let Some(next) = deliveries.get(place + 1) else { continue };
        // Touches and lost reserves count as well: then it was perhaps reserved in between.
        if next.got.reserved_count != deliveries[place].got.reserved_count + 1 {
            continue;
        }
        for other in index.deliveries.range(held.message..).skip(1).flat_map(|(_, all)| all) {
            let between = other.queue == held.queue
                && other.event.called_ns > event.answered_ns
                && other.generation() < next.generation();
            findings.looked("Q8 place kept");
            if between {
                let text = format!(
                    "{:?} was released and free, and the younger {:?} was delivered",
                    deliveries[place].got, other.got
                );
                findings.blame("Q8 place kept", text);
            }
        }
    }
}

/// P2: a message of a key is delivered only when every older one of the key is gone.
fn keys_wait(index: &Index<'_>, findings: &mut Findings) {
    let mut by_key: BTreeMap<(QueueNumber, u64), Vec<MessageId>> = BTreeMap::new();
    for (uid, posts) in &index.posts {
        if let Op::Post { queue, key: Some(key), .. } = &posts[0].op {
            let messages = index.messages_of.get(uid).into_iter().flatten();
            by_key.entry((*queue, *key)).or_default().extend(messages);
        }
    }
    for (key, messages) in &mut by_key {
        messages.sort();
        for (place, older) in messages.iter().enumerate() {
            let Some(last) = index.deliveries.get(older).and_then(|all| all.last()) else {
                continue;
            };
            for younger in &messages[place + 1..] {
                let Some(first) = index.deliveries.get(younger).and_then(|all| all.first()) else {
                    continue;
                };
                findings.looked("P2 key order");
                if first.generation() < last.generation() {
                    let text = format!(
                        "key {key:?}: {:?} was delivered while {:?} was still there",
                        first.got, last.got
                    );
                    findings.blame("P2 key order", text);
                }
            }
        }
    }
}

/// Q9: nothing is delivered before its delay has passed in log time.
fn delays_are_kept(index: &Index<'_>, findings: &mut Findings) {
    for posts in index.posts.values() {
        for post in posts {
            let Op::Post { uids, delay, .. } = &post.op else { continue };
            if *delay == Millis::ZERO || posts.len() > 1 {
                continue;
            }
            for message in uids.iter().filter_map(|uid| index.messages_of.get(uid)).flatten() {
                let first = index.deliveries.get(message).and_then(|all| all.first());
                let Some(first) = first else { continue };
                findings.looked("Q9 delay");
                if first.event.log_high < post.log_low.after(*delay) {
                    findings.blame("Q9 delay", format!("{post:?} delivered by {:?}", first.event));
                }
            }
        }
    }
}

/// A transaction whose answer was lost was applied whole or not at all.
fn swaps_are_whole(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let Op::Swap { held, uid, .. } = &event.op else { continue };
        if event.answer != Answer::Unknown {
            continue;
        }
        findings.looked("P4 whole transaction");
        let posted = index.messages_of.contains_key(uid);
        let others = acks(index)
            .any(|(other, ack)| ack.message == held.message && !std::ptr::eq(other, event));
        let later = index.deliveries.get(&held.message).and_then(|all| all.last());
        let returned = later.is_some_and(|last| last.generation() > held.reservation.generation());
        if posted && returned {
            findings.blame("P4 whole transaction", format!("posted, but not acked: {event:?}"));
        }
        if !posted && !returned && !others {
            findings.blame("P4 whole transaction", format!("acked, but not posted: {event:?}"));
        }
    }
}

/// A message reserved often enough moves, with its id and its count, and comes back no more.
fn the_dying_move(index: &Index<'_>, findings: &mut Findings) {
    for deliveries in index.deliveries.values() {
        let mut moved = false;
        for delivery in deliveries {
            let got = delivery.got;
            match QUEUES[delivery.queue].kind {
                Kind::Dying { max_reservations, .. } => {
                    findings.looked("dead letters");
                    if moved || got.reserved_count > max_reservations {
                        findings.blame("dead letters", format!("not moved: {got:?}"));
                    }
                }
                Kind::Dead => {
                    findings.looked("dead letters");
                    moved = true;
                    if got.reserved_count <= 3 {
                        findings.blame("dead letters", format!("moved too early: {got:?}"));
                    }
                }
                _ => {}
            }
        }
    }
}

/// When a message came and went, as far as answers tell.
#[derive(Default)]
struct Span {
    /// Answer of its post.
    there_ns: Option<u64>,
    /// First call of an ack that may have removed it.
    perhaps_gone_ns: Option<u64>,
    /// Answer of an ack that has.
    gone_ns: Option<u64>,
}

fn earliest(known: &mut Option<u64>, at_ns: u64) {
    *known = Some(known.map_or(at_ns, |known| known.min(at_ns)));
}

/// Reads behind a barrier see every write that was answered before they began.
fn reads_are_fresh(index: &Index<'_>, findings: &mut Findings) {
    let mut spans: BTreeMap<MessageId, Span> = BTreeMap::new();
    for event in index.events {
        if let Answer::Posted(ids) = &event.answer {
            for id in ids {
                earliest(&mut spans.entry(*id).or_default().there_ns, event.answered_ns);
            }
        }
    }
    for (event, held) in acks(index) {
        let span = spans.entry(held.message).or_default();
        earliest(&mut span.perhaps_gone_ns, event.called_ns);
        if matches!(event.answer, Answer::Acked(1) | Answer::Swapped(_)) {
            earliest(&mut span.gone_ns, event.answered_ns);
        }
    }
    for event in index.events {
        let (Op::Look { queue, message }, Answer::Seen(there)) = (&event.op, &event.answer) else {
            continue;
        };
        let Some(span) = spans.get(message) else { continue };
        findings.looked("P2 fresh reads");
        let posted = span.there_ns.is_some_and(|at| at < event.called_ns);
        let perhaps_gone = span.perhaps_gone_ns.is_some_and(|at| at < event.answered_ns);
        // The dying are moved to another queue.
        if !there && posted && !perhaps_gone && !matches!(QUEUES[*queue].kind, Kind::Dying { .. }) {
            findings.blame("P2 fresh reads", format!("not seen, though posted: {event:?}"));
        }
        if *there && span.gone_ns.is_some_and(|at| at < event.called_ns) {
            findings.blame("P2 fresh reads", format!("seen, though acked: {event:?}"));
        }
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
