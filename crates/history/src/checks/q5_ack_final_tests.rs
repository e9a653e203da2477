//! Histories that keep Q5, and histories that break it.

use super::*;
use crate::event::{Answer, Op};
use crate::fixtures::*;

fn first() -> Story {
    story().post(0, 1).get(0, 1, 1, 1)
}

#[test]
fn kept() {
    keeps(
        Check::AckFinal,
        vec![
            ("acked, and gone", first().ack(0, 1, 1)),
            ("lapsed, given again, acked under the second", {
                first().wait(100).get(0, 1, 2, 2).ack(0, 1, 2)
            }),
            ("an ack that was refused ends nothing", {
                let refused = Answer::Refused(bessemer_model::Rejection::ReservationStale {
                    message: message(1),
                });
                first().wait(100).op(Op::Ack(held(0, 1, 1)), refused).get(0, 1, 2, 2).ack(0, 1, 2)
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::AckFinal,
        vec![
            (
                "Redis-Raft: a failover brings it back",
                first().ack(0, 1, 1).wait(200).get(0, 1, 2, 2),
            ),
            ("given at once under the next reservation", first().ack(0, 1, 1).get(0, 1, 2, 2)),
            ("asked for during the ack, and given under a newer reservation", {
                first().lasting(50).ack(0, 1, 1).wait(5).get(0, 1, 2, 2)
            }),
            ("a swap is an ack", {
                let swap = Op::Swap { held: held(0, 1, 1), to: 1, uid: 2 };
                first().op(swap, Answer::Swapped(message(2))).wait(200).get(0, 1, 2, 2)
            }),
        ],
    );
}
