//! Histories that keep F1, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn gone() -> Story {
    story().post(0, 1).get(0, 1, 1, 1).ack(0, 1, 1)
}

#[test]
fn kept() {
    keeps(
        Check::FreshReads,
        vec![
            ("seen while it is there", story().post(0, 1).op(look(0, 1), Answer::Seen(true))),
            ("not seen when it is gone", gone().op(look(0, 1), Answer::Seen(false))),
            ("not seen while an ack is under way", {
                let story = story().post(0, 1).get(0, 1, 1, 1).lasting(50).ack(0, 1, 1);
                story.op(look(0, 1), Answer::Seen(false))
            }),
            ("the dying move away", story().post(4, 1).op(look(4, 1), Answer::Seen(false))),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::FreshReads,
        vec![
            (
                "Redis-Raft: posted, and not seen",
                story().post(0, 1).op(look(0, 1), Answer::Seen(false)),
            ),
            ("acked, and seen", gone().op(look(0, 1), Answer::Seen(true))),
            ("held, and not seen", {
                story().post(0, 1).get(0, 1, 1, 1).op(look(0, 1), Answer::Seen(false))
            }),
        ],
    );
}
