//! Histories that keep Q6, and histories that break it.

use bessemer_model::Rejection;

use super::*;
use crate::fixtures::*;

fn twice() -> Story {
    story().post(0, 1).get(0, 1, 1, 1).wait(100).get(0, 1, 2, 2)
}

#[test]
fn kept() {
    let stale = || Answer::Refused(Rejection::ReservationStale { message: message(1) });
    keeps(
        Check::AckOnce,
        vec![
            (
                "etcd 3.4.3, with fencing: the first holder is refused",
                twice().op(Op::Ack(held(0, 1, 1)), stale()).ack(0, 1, 2),
            ),
            ("the second ack is refused", {
                let missing = Answer::Refused(Rejection::MessageMissing { message: message(1) });
                twice().ack(0, 1, 2).op(Op::Ack(held(0, 1, 2)), missing)
            }),
            ("an ack of unknown outcome, then a refusal", {
                let story = twice().op(Op::Ack(held(0, 1, 2)), Answer::Unknown);
                story.op(Op::Ack(held(0, 1, 2)), stale())
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::AckOnce,
        vec![
            ("P4: two acks succeed", twice().ack(0, 1, 2).ack(0, 1, 2)),
            ("etcd 3.4.3: the first holder's ack succeeds after the second was told", {
                twice().ack(0, 1, 1)
            }),
            ("a swap and an ack succeed", {
                let swap = Op::Swap { held: held(0, 1, 2), to: 1, uid: 2 };
                twice().ack(0, 1, 2).op(swap, Answer::Swapped(message(2)))
            }),
            ("one ack removes two", twice().op(Op::Ack(held(0, 1, 2)), Answer::Acked(2))),
        ],
    );
}
