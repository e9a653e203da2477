//! Histories that keep Q8, and histories that break it.

use super::*;
use crate::fixtures::*;

fn first() -> Story {
    story().post(0, 1).post(0, 2).get(0, 1, 1, 1)
}

#[test]
fn kept() {
    keeps(
        Check::Place,
        vec![
            ("P2: a released message is the next", {
                first().release(0, 1, 1).get(0, 1, 2, 2).get(0, 2, 3, 1)
            }),
            (
                "so is a lapsed one",
                first().wait(100).get(0, 1, 2, 2).get(0, 2, 3, 1).wait(99).get(0, 1, 4, 3),
            ),
            ("one reply, oldest first", {
                let both = vec![got(1, 1, 1), got(2, 2, 1)];
                story().post(0, 1).post(0, 2).op(reserve(0, 2), Answer::Reserved(both))
            }),
            ("a reserve that nobody heard may have held it", {
                let story = first().release(0, 1, 1).op(reserve(0, 1), Answer::Unknown);
                story.get(0, 2, 3, 1).wait(200).get(0, 1, 4, 2)
            }),
            ("over the log: given back, and next", {
                let story = logged().does(post(0, &[1, 2])).does(reserve_long(0, 1));
                story.does(release(held(0, 1, 1), 0)).does(reserve_long(0, 2))
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::Place,
        vec![
            ("released, and put at the tail (JetStream's nak)", {
                first().release(0, 1, 1).get(0, 2, 2, 1).get(0, 1, 3, 2)
            }),
            ("lapsed, and put at the tail", first().wait(150).get(0, 2, 2, 1).get(0, 1, 3, 2)),
            ("one reply, not in order", {
                let both = vec![got(2, 1, 1), got(1, 2, 1)];
                story().post(0, 1).post(0, 2).op(reserve(0, 2), Answer::Reserved(both))
            }),
            ("over the log: given back, and passed over", {
                let story = logged().applies(&post(0, &[1, 2])).does(reserve_long(0, 1));
                let second = bessemer_model::ReservedMessage {
                    id: message(2),
                    body: None,
                    reserved_count: 1,
                    reservation: reservation(2),
                };
                let told = bessemer_model::Outcome::Reserved { messages: vec![second] };
                story.does(release(held(0, 1, 1), 0)).applies(&reserve_long(0, 1)).told(Ok(told))
            }),
        ],
    );
}
