//! Histories that keep Q2, and histories that break it.

use super::*;
use crate::event::{Answer, Got};
use crate::fixtures::*;

#[test]
fn kept() {
    keeps(
        Check::NoGhost,
        vec![
            ("posted and given", story().post(0, 1).get(0, 1, 1, 1)),
            (
                "a post of unknown outcome was done after all (Jepsen: recovered)",
                story().op(post(0, &[1]), Answer::Unknown).get(0, 1, 1, 1),
            ),
            ("the dead come from another queue", story().post(4, 1).get(5, 1, 1, 4)),
            (
                "refused, then done when sent again under its key",
                story().op(retried(0, &[1]), Answer::NotDone).op(retried(0, &[1]), posted(&[1])),
            ),
        ],
    );
}

#[test]
fn broken() {
    let strange = Got { uid: None, ..got(1, 1, 1) };
    breaks(
        Check::NoGhost,
        vec![
            (
                "P10: it was certainly not done, and is there",
                story().op(post(0, &[1]), Answer::NotDone).get(0, 1, 1, 1),
            ),
            ("nobody posted it", story().get(0, 1, 1, 1)),
            (
                "JetStream: one bit flipped in the body",
                story().post(0, 1).op(reserve(0, 1), Answer::Reserved(vec![strange])),
            ),
            ("one message, two bodies", {
                let other = Got { uid: Some(2), ..got(1, 2, 2) };
                let story = story().post(0, 1).get(0, 1, 1, 1).op(post(0, &[2]), Answer::Unknown);
                story.wait(100).op(reserve(0, 1), Answer::Reserved(vec![other]))
            }),
            ("given from another queue", story().post(0, 1).get(1, 1, 1, 1)),
        ],
    );
}
