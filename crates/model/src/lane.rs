//! A node's ordered way into the log.
//!
//! Each node numbers the batches it sends to the leader. The log may hold a batch twice (it was
//! sent again after silence or a change of leader); the engine applies each number once, in order.

use crate::ids::{BootCount, NodeId};

/// Names one batch of one node: `seq` counts from 1 within a boot, without gaps.
///
/// Ordered by boot, then seq, within a node. Source: design 3, decision 0002.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaneSeq {
    pub node: NodeId,
    pub boot: BootCount,
    pub seq: u64,
}
