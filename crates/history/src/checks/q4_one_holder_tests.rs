//! Histories that keep Q4, and histories that break it.

use super::*;
use crate::fixtures::*;

fn first() -> Story {
    story().post(0, 1).get(0, 1, 1, 1)
}

#[test]
fn kept() {
    let touched = touch(held(0, 1, 1), 20);
    keeps(
        Check::OneHolder,
        vec![
            ("it lapsed", first().wait(100).get(0, 1, 2, 2)),
            ("it was released", first().release(0, 1, 1).get(0, 1, 2, 2)),
            (
                "a touch may make it shorter",
                first().op(touched, Answer::Touched(reservation(1))).wait(20).get(0, 1, 2, 3),
            ),
            (
                "a release of unknown outcome may have freed it",
                first().op(release(held(0, 1, 1), 0), Answer::Unknown).get(0, 1, 2, 2),
            ),
            (
                "over the log, at the very moment at which it lapses",
                logged()
                    .does(post(0, &[1]))
                    .does(reserve_long(0, 1))
                    .wait(1_990)
                    .does(reserve_long(0, 1)),
            ),
        ],
    );
}

#[test]
fn broken() {
    let touched = touch(held(0, 1, 1), 90);
    breaks(
        Check::OneHolder,
        vec![
            ("RabbitMQ 3.3: given to two at once", first().get(0, 1, 2, 2)),
            (
                "a touch that was answered did not last",
                first().op(touched, Answer::Touched(reservation(1))).wait(50).get(0, 1, 2, 3),
            ),
            ("two replies with one reservation", first().wait(200).get(0, 1, 1, 1)),
            ("a count goes back", first().wait(200).get(0, 1, 2, 1)),
            ("over the log: reserved while held", {
                let story =
                    logged().applies(&post(0, &[1])).applies(&reserve_long(0, 1)).wait(1_000);
                let second = bessemer_model::ReservedMessage {
                    id: message(1),
                    body: None,
                    reserved_count: 2,
                    reservation: reservation(2),
                };
                story
                    .applies(&reserve_long(0, 1))
                    .told(Ok(bessemer_model::Outcome::Reserved { messages: vec![second] }))
            }),
        ],
    );
}
