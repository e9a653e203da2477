//! Histories that keep X1, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn lost() -> Story {
    let swap = Op::Swap { held: held(0, 1, 1), to: 1, uid: 2 };
    story().post(0, 1).get(0, 1, 1, 1).op(swap, Answer::Unknown)
}

#[test]
fn kept() {
    keeps(
        Check::WholeTransactions,
        vec![
            ("acked and posted", lost().get(1, 2, 2, 1).ack(1, 2, 2).drained()),
            ("neither", lost().wait(100).get(0, 1, 2, 2).ack(0, 1, 2).drained()),
            ("not drained: what is not seen may be there", lost()),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::WholeTransactions,
        vec![
            ("KIP-890: posted, but not acked", {
                let story = lost().get(1, 2, 2, 1).ack(1, 2, 2).wait(100).get(0, 1, 3, 2);
                story.ack(0, 1, 3).drained()
            }),
            ("acked, but not posted", lost().drained()),
            ("answered, and the message comes back", {
                let swap = Op::Swap { held: held(0, 1, 1), to: 1, uid: 2 };
                let story =
                    story().post(0, 1).get(0, 1, 1, 1).op(swap, Answer::Swapped(message(2)));
                story.wait(100).get(0, 1, 2, 2)
            }),
        ],
    );
}
