//! Histories that keep K1, and histories that break it.

use super::*;
use crate::event::Answer;
use crate::fixtures::{Story, *};

fn two() -> Story {
    story().op(ordered(1, 7), posted(&[1])).op(ordered(2, 7), posted(&[2]))
}

#[test]
fn kept() {
    keeps(
        Check::KeyOrder,
        vec![
            ("SQS: the next after the ack", two().get(3, 1, 1, 1).ack(3, 1, 1).get(3, 2, 2, 1)),
            ("the first is given twice before", {
                two().get(3, 1, 1, 1).wait(100).get(3, 1, 2, 2).ack(3, 1, 2).get(3, 2, 3, 1)
            }),
            ("an ack of unknown outcome may have let it go", {
                let story = two().get(3, 1, 1, 1);
                story.op(crate::event::Op::Ack(held(3, 1, 1)), Answer::Unknown).get(3, 2, 2, 1)
            }),
        ],
    );
    let other = story().op(ordered(1, 7), posted(&[1])).op(ordered(2, 8), posted(&[2]));
    let report = crate::judge(&other.get(3, 2, 1, 1).get(3, 1, 2, 1).history);
    assert!(report.broken.is_empty(), "another key does not wait: {report}");
}

#[test]
fn broken() {
    breaks(
        Check::KeyOrder,
        vec![
            (
                "given while the first is held",
                two().get(3, 1, 1, 1).get(3, 2, 2, 1).wait(100).get(3, 1, 3, 2),
            ),
            ("given before the first", two().get(3, 2, 1, 1).get(3, 1, 2, 1)),
            ("the third passes a first that comes back", {
                let story = two().op(ordered(3, 7), posted(&[3])).get(3, 1, 1, 1).get(3, 3, 2, 1);
                story.wait(100).get(3, 1, 3, 2)
            }),
            ("over the log: two of a key in one reply", {
                let one = |sequence| bessemer_model::ReservedMessage {
                    id: message(sequence),
                    body: None,
                    reserved_count: 1,
                    reservation: reservation(sequence),
                };
                let told = bessemer_model::Outcome::Reserved { messages: vec![one(1), one(2)] };
                let story = logged().applies(&ordered(1, 7)).applies(&ordered(2, 7));
                story.applies(&reserve_long(3, 2)).told(Ok(told))
            }),
        ],
    );
}
