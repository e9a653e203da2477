//! Histories that keep Q1, and histories that break it.

use super::*;
use crate::event::{Answer, Op};
use crate::fixtures::*;

#[test]
fn kept() {
    let lost_ack = Op::Ack(held(0, 1, 1));
    keeps(
        Check::NoLoss,
        vec![
            ("P1: posted, given, acked", story().post(0, 1).get(0, 1, 1, 1).ack(0, 1, 1).drained()),
            (
                "an ack of unknown outcome may have removed it (Jepsen: info)",
                story().post(0, 1).get(0, 1, 1, 1).op(lost_ack, Answer::Unknown).drained(),
            ),
            (
                "a post whose answer was lost is owed nothing",
                story()
                    .post(0, 1)
                    .get(0, 1, 1, 1)
                    .ack(0, 1, 1)
                    .op(post(0, &[2]), Answer::Unknown)
                    .drained(),
            ),
            ("the log tells, and it was acked", {
                let story = logged().applies(&post(0, &[1])).op(post(0, &[1]), Answer::Unknown);
                story.does(reserve_long(0, 1)).does(Op::Ack(held(0, 1, 1))).drained()
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::NoLoss,
        vec![
            ("JetStream 2.12.1: acknowledged, then a power failure", story().post(0, 1).drained()),
            (
                "RabbitMQ 3.3: given once, never acked, and gone",
                story().post(0, 1).get(0, 1, 1, 1).drained(),
            ),
            ("one of a batch is missing", {
                let story = story().op(post(0, &[1, 2]), posted(&[1, 2]));
                story.get(0, 1, 1, 1).ack(0, 1, 1).drained()
            }),
            ("only the log tells that it was posted", {
                let story = logged().applies(&post(0, &[1])).op(post(0, &[1]), Answer::Unknown);
                story.drained()
            }),
        ],
    );
    let report = crate::judge(&story().post(0, 1).history);
    assert!(report.broken.is_empty(), "before the drain nothing is known: {report}");
}
