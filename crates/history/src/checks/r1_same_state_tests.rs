//! Histories that keep R1, and histories that break it.

use super::*;
use crate::fixtures::*;

#[test]
fn kept() {
    keeps(
        Check::SameState,
        vec![
            ("two nodes, one chain", story().sees((1, 1, 1, 5, 7)).sees((2, 1, 1, 5, 7))),
            ("other indexes, other chains", {
                story().sees((1, 1, 1, 5, 7)).sees((2, 1, 1, 5, 7)).sees((2, 1, 1, 6, 8))
            }),
            ("a node that comes back is where it was", {
                story().sees((1, 1, 1, 5, 7)).sees((2, 1, 1, 5, 7)).sees((1, 2, 1, 5, 7))
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::SameState,
        vec![
            ("openraft 1808: two quorums, two states", {
                story().sees((1, 1, 1, 5, 7)).sees((2, 1, 1, 5, 8))
            }),
            ("the third differs", {
                story().sees((1, 1, 1, 5, 7)).sees((2, 1, 1, 5, 7)).sees((3, 1, 1, 5, 9))
            }),
            ("one node differs from itself (JetStream: a bit flipped on disk)", {
                story().sees((1, 1, 1, 5, 7)).sees((1, 2, 1, 5, 9))
            }),
        ],
    );
}
