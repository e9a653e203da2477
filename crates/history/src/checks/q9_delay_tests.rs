//! Histories that keep Q9, and histories that break it.

use super::*;
use crate::fixtures::*;

fn one() -> Story {
    story().op(delayed(1, 50), posted(&[1]))
}

#[test]
fn kept() {
    let back =
        || story().post(2, 1).get(2, 1, 1, 1).op(release(held(2, 1, 1), 50), Answer::Released);
    keeps(
        Check::Delay,
        vec![
            ("P6: given after its delay", one().wait(50).get(2, 1, 1, 1)),
            (
                "given at the first moment that may be late enough",
                one().wait(40).lasting(10).get(2, 1, 1, 1),
            ),
            ("released with a delay, given after it", back().wait(50).get(2, 1, 2, 2)),
            ("sent twice: the first may be the one that was done", {
                let again = || Op::Post {
                    queue: 2,
                    uids: vec![1],
                    delay: Millis(50),
                    key: None,
                    keyed: true,
                };
                let story = story().op(again(), Answer::Unknown).wait(40).op(again(), posted(&[1]));
                story.get(2, 1, 1, 1)
            }),
        ],
    );
}

#[test]
fn broken() {
    let back =
        || story().post(2, 1).get(2, 1, 1, 1).op(release(held(2, 1, 1), 50), Answer::Released);
    breaks(
        Check::Delay,
        vec![
            ("given at once", one().get(2, 1, 1, 1)),
            ("given a moment early", one().wait(34).get(2, 1, 1, 1)),
            ("released with a delay, given at once", back().get(2, 1, 2, 2)),
            ("over the log: given before its time", {
                let early = bessemer_model::ReservedMessage {
                    id: message(1),
                    body: None,
                    reserved_count: 1,
                    reservation: reservation(1),
                };
                let told = bessemer_model::Outcome::Reserved { messages: vec![early] };
                logged().applies(&delayed(1, 5_000)).applies(&reserve_long(2, 1)).told(Ok(told))
            }),
        ],
    );
}
