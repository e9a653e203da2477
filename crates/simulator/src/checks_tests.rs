//! Each check finds its planted wrong, and lets the right pass.

use bessemer_model::{GroupId, NodeId};

use super::*;

/// Builds histories step by step; each call takes ten units of true and of log time.
#[derive(Default)]
struct Story {
    events: Vec<Event>,
    now: u64,
}

fn message(sequence: u64) -> MessageId {
    MessageId::new(GroupId(0), sequence)
}

fn reservation(generation: u64) -> bessemer_model::ReservationId {
    bessemer_model::ReservationId::new(generation, 0, 7)
}

fn held(queue: QueueNumber, sequence: u64, generation: u64) -> Held {
    Held { queue, message: message(sequence), reservation: reservation(generation) }
}

impl Story {
    fn tell(mut self, op: Op, answer: Answer) -> Story {
        self.now += 10;
        self.events.push(Event {
            node: NodeId(1),
            called_ns: self.now,
            answered_ns: self.now + 5,
            log_low: Millis(self.now),
            log_high: Millis(self.now + 5),
            op,
            answer,
        });
        self
    }

    fn wait(mut self, length: u64) -> Story {
        self.now += length;
        self
    }

    /// Uid and sequence are one number.
    fn posts(self, queue: QueueNumber, uid: u64) -> Story {
        let answer = Answer::Posted(vec![message(uid)]);
        self.post(queue, uid, answer, 0, None)
    }

    fn post(self, queue: usize, uid: u64, answer: Answer, delay: u64, key: Option<u64>) -> Story {
        let delay = Millis(delay);
        self.tell(Op::Post { queue, uids: vec![uid], delay, key, keyed: false }, answer)
    }

    fn gets(self, queue: QueueNumber, uid: u64, generation: u64, reserved_count: u32) -> Story {
        let got = Got {
            message: message(uid),
            uid: Some(uid),
            reserved_count,
            reservation: reservation(generation),
        };
        self.tell(Op::Reserve { queue, timeout: Millis(100) }, Answer::Reserved(vec![got]))
    }

    fn acks(self, queue: QueueNumber, uid: u64, generation: u64) -> Story {
        self.tell(Op::Ack(held(queue, uid, generation)), Answer::Acked(1))
    }

    fn releases(self, queue: QueueNumber, uid: u64, generation: u64) -> Story {
        let op = Op::Release { held: held(queue, uid, generation), delay: Millis::ZERO };
        self.tell(op, Answer::Released)
    }

    /// The promises broken, each once.
    fn broken(self) -> Vec<&'static str> {
        let mut broken: Vec<_> =
            check(&self.events).violations.iter().map(|violation| violation.promise).collect();
        broken.dedup();
        broken
    }
}

#[test]
fn an_ordinary_day_breaks_nothing() {
    let story = Story::default()
        .posts(0, 1)
        .posts(0, 2)
        .gets(0, 1, 1, 1)
        .releases(0, 1, 1)
        .gets(0, 1, 2, 2)
        .acks(0, 1, 2)
        .gets(0, 2, 3, 1)
        .wait(100)
        .gets(0, 2, 4, 2)
        .acks(0, 2, 4);
    let findings = check(&story.events);
    assert!(findings.violations.is_empty(), "{:?}", findings.violations);
    for promise in ["Q1 no loss", "Q4 one holder", "Q6 one ack", "Q7 order"] {
        assert!(findings.opportunities[promise] > 0, "{promise}");
    }
}

#[test]
fn a_message_never_seen_again_is_lost() {
    assert_eq!(Story::default().posts(0, 1).broken(), ["Q1 no loss"]);
    let unsure = Story::default().post(0, 1, Answer::Unknown, 0, None);
    assert!(unsure.broken().is_empty());
}

#[test]
fn a_message_nobody_posted_is_a_ghost() {
    let refused = Story::default().post(0, 1, Answer::NotDone, 0, None);
    assert_eq!(refused.gets(0, 1, 1, 1).acks(0, 1, 1).broken(), ["Q2 no ghost"]);
    let never = Story::default().gets(0, 1, 1, 1).acks(0, 1, 1);
    assert_eq!(never.broken(), ["Q2 no ghost"]);
}

#[test]
fn two_messages_of_one_post_are_a_copy() {
    let answer = Answer::Posted(vec![message(9)]);
    let story = Story::default().posts(0, 1).post(0, 1, answer, 0, None);
    assert_eq!(story.gets(0, 1, 1, 1).acks(0, 1, 1).broken(), ["Q3 no copy"]);
}

#[test]
fn a_second_holder_is_found() {
    let story = Story::default().posts(0, 1).gets(0, 1, 1, 1).gets(0, 1, 2, 2).acks(0, 1, 2);
    assert_eq!(story.broken(), ["Q4 one holder"]);
}

#[test]
fn a_touch_moves_the_end_of_a_reservation() {
    let touched = |length| {
        let op = Op::Touch { held: held(0, 1, 1), timeout: Millis(length) };
        let story = Story::default().posts(0, 1).gets(0, 1, 1, 1);
        story.tell(op, Answer::Touched(reservation(1))).wait(50).gets(0, 1, 2, 3).acks(0, 1, 2)
    };
    assert!(touched(20).broken().is_empty());
    assert_eq!(touched(90).broken(), ["Q4 one holder"]);
}

#[test]
fn an_acked_message_stays_away() {
    let story = Story::default().posts(0, 1).gets(0, 1, 1, 1).acks(0, 1, 1).wait(200);
    assert_eq!(story.gets(0, 1, 2, 2).broken(), ["Q5 ack final"]);
}

#[test]
fn one_ack_succeeds() {
    let story = Story::default().posts(0, 1).gets(0, 1, 1, 1).acks(0, 1, 1).acks(0, 1, 1);
    assert_eq!(story.broken(), ["Q6 one ack"]);
}

#[test]
fn the_younger_does_not_go_first() {
    let story = Story::default().posts(0, 1).posts(0, 2).gets(0, 2, 1, 1).gets(0, 1, 2, 1);
    assert_eq!(story.acks(0, 1, 2).acks(0, 2, 1).broken(), ["Q7 order"]);
    // A lost reserve may have had the older one before.
    let story = Story::default().posts(0, 1).posts(0, 2).gets(0, 2, 2, 1).gets(0, 1, 3, 2);
    assert!(story.acks(0, 1, 3).acks(0, 2, 2).broken().is_empty());
}

#[test]
fn a_released_message_keeps_its_place() {
    let story = Story::default().posts(0, 1).posts(0, 2).gets(0, 1, 1, 1).releases(0, 1, 1);
    let story = story.gets(0, 2, 2, 1).gets(0, 1, 3, 2).acks(0, 1, 3).acks(0, 2, 2);
    assert_eq!(story.broken(), ["Q8 place kept"]);
}

#[test]
fn the_next_of_a_key_waits() {
    let post =
        |story: Story, uid| story.post(3, uid, Answer::Posted(vec![message(uid)]), 0, Some(1));
    let story = post(post(Story::default(), 1), 2).gets(3, 1, 1, 1).gets(3, 2, 2, 1);
    let story = story.wait(100).gets(3, 1, 3, 2).acks(3, 1, 3).acks(3, 2, 2);
    assert_eq!(story.broken(), ["P2 key order"]);
}

#[test]
fn a_delay_is_waited_for() {
    let post = |story: Story| story.post(2, 1, Answer::Posted(vec![message(1)]), 50, None);
    let early = post(Story::default()).gets(2, 1, 1, 1).acks(2, 1, 1);
    assert_eq!(early.broken(), ["Q9 delay"]);
    let late = post(Story::default()).wait(50).gets(2, 1, 1, 1).acks(2, 1, 1);
    assert!(late.broken().is_empty());
}

#[test]
fn half_a_transaction_is_found() {
    let swap =
        |story: Story| story.tell(Op::Swap { held: held(0, 1, 1), to: 1, uid: 2 }, Answer::Unknown);
    let begin = || swap(Story::default().posts(0, 1).gets(0, 1, 1, 1));
    assert_eq!(begin().broken(), ["P4 whole transaction"]);
    let posted_only = begin().gets(1, 2, 2, 1).acks(1, 2, 2).wait(100).gets(0, 1, 3, 2);
    assert_eq!(posted_only.acks(0, 1, 3).broken(), ["P4 whole transaction"]);
    assert!(begin().gets(1, 2, 2, 1).acks(1, 2, 2).broken().is_empty());
    assert!(begin().wait(100).gets(0, 1, 2, 2).acks(0, 1, 2).broken().is_empty());
}

#[test]
fn the_dying_move_in_time() {
    let story = Story::default().posts(DYING_QUEUE, 1).gets(DYING_QUEUE, 1, 1, 4);
    assert_eq!(story.acks(DYING_QUEUE, 1, 1).broken(), ["dead letters"]);
    let story = Story::default().posts(DYING_QUEUE, 1).gets(DEAD_QUEUE, 1, 1, 2);
    assert_eq!(story.acks(DEAD_QUEUE, 1, 1).broken(), ["dead letters"]);
}

#[test]
fn an_answer_that_does_not_fit_is_found() {
    let refusal = Answer::Refused(Rejection::RetryKeyMismatch);
    assert_eq!(Story::default().post(0, 1, refusal, 0, None).broken(), ["P10 honest answers"]);
}

#[test]
fn a_stale_read_is_found() {
    let look = |story: Story, there| {
        story.tell(Op::Look { queue: 0, message: message(1) }, Answer::Seen(there))
    };
    let posted = || Story::default().posts(0, 1);
    let acked = |story: Story| story.gets(0, 1, 1, 1).acks(0, 1, 1);
    assert!(look(acked(look(posted(), true)), false).broken().is_empty());
    assert_eq!(acked(look(posted(), false)).broken(), ["P2 fresh reads"]);
    assert_eq!(look(acked(posted()), true).broken(), ["P2 fresh reads"]);
}
