//! Histories that keep Q3, and histories that break it.

use bessemer_model::{BootCount, NodeId};

use super::*;
use crate::event::Answer;
use crate::fixtures::{Story, *};

/// A log of one post each, by lane: node, boot, seq, place.
fn lanes(parts: &[(u64, u64, u64, u32)]) -> Story {
    parts.iter().zip(1..).fold(logged(), |story, ((node, boot, seq, place), uid)| {
        let mut story = story.applies(&post(0, &[uid]));
        let lane = LaneSeq { node: NodeId(*node), boot: BootCount(*boot), seq: *seq };
        story.history.applied.last_mut().unwrap().lane = Some((lane, *place));
        story
    })
}

#[test]
fn kept() {
    keeps(
        Check::NoCopy,
        vec![
            (
                "sent twice under one key, the same message",
                story().op(retried(0, &[1]), Answer::Unknown).op(retried(0, &[1]), posted(&[1])),
            ),
            ("two posts without a key may be two messages", {
                let story = story().op(post(0, &[1]), Answer::Unknown);
                story.op(post(0, &[1]), Answer::Posted(vec![message(2)]))
            }),
            (
                "lanes of two nodes, parts of several requests, a new boot",
                lanes(&[(1, 1, 1, 0), (1, 1, 1, 1), (2, 3, 1, 0), (1, 1, 2, 0), (1, 2, 1, 0)]),
            ),
        ],
    );
}

#[test]
fn broken() {
    let again = story().op(retried(0, &[1]), posted(&[1]));
    breaks(
        Check::NoCopy,
        vec![
            (
                "Redpanda 3039: a retry under its key made another message",
                again.op(retried(0, &[1]), Answer::Posted(vec![message(9)])),
            ),
            ("one post, two messages", {
                let other = crate::event::Got { message: message(2), ..got(1, 2, 1) };
                story().post(0, 1).op(reserve(0, 1), Answer::Reserved(vec![other]))
            }),
            ("a part that was sent again is applied again", lanes(&[(1, 1, 1, 0), (1, 1, 1, 0)])),
            ("a part is skipped", lanes(&[(1, 1, 1, 0), (1, 1, 3, 0)])),
            ("an older boot's part comes after all", lanes(&[(1, 2, 1, 0), (1, 1, 1, 0)])),
            ("a lane begins with its second part", lanes(&[(1, 1, 2, 0)])),
        ],
    );
}
