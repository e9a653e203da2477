//! Histories that keep Q10, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn held_one() -> Story {
    logged().does(post(0, &[1])).does(reserve_long(0, 1))
}

#[test]
fn kept() {
    keeps(
        Check::Linear,
        vec![
            ("every answer is that of its request", held_one().does(Op::Ack(held(0, 1, 1)))),
            ("two at once, in either order", {
                let story = logged().applies(&post(0, &[2])).applies(&post(0, &[1])).lasting(50);
                let first = Answer::Posted(vec![message(2)]);
                story.op(post(0, &[1]), first).op(post(0, &[2]), Answer::Posted(vec![message(1)]))
            }),
            ("a refusal of the log", {
                let story = held_one().does(Op::Ack(held(0, 1, 1)));
                story.does(Op::Ack(held(0, 1, 1)))
            }),
            ("a read sees what was there", {
                let story =
                    held_one().op(look(0, 1), Answer::Seen(true)).does(Op::Ack(held(0, 1, 1)));
                story.op(look(0, 1), Answer::Seen(false))
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::Linear,
        vec![
            ("an answer that no request had", logged().op(post(0, &[1]), posted(&[1]))),
            ("Herlihy and Wing: answered before the other was asked, and applied after it", {
                let story = logged().applies(&post(0, &[2])).applies(&post(0, &[1]));
                let first = Answer::Posted(vec![message(2)]);
                story.op(post(0, &[1]), first).op(post(0, &[2]), Answer::Posted(vec![message(1)]))
            }),
            ("another count than the log's", {
                let story = logged().does(post(0, &[1])).applies(&reserve_long(0, 1));
                story.op(reserve_long(0, 1), Answer::Reserved(vec![got(1, 1, 2)]))
            }),
            ("refused, and the log did it", {
                let story = held_one().applies(&Op::Ack(held(0, 1, 1)));
                let stale = Answer::Refused(Rejection::ReservationStale { message: message(1) });
                story.op(Op::Ack(held(0, 1, 1)), stale)
            }),
            ("Redis-Raft: a read of the past", {
                held_one().does(Op::Ack(held(0, 1, 1))).op(look(0, 1), Answer::Seen(true))
            }),
        ],
    );
}
