//! The leader's end of a node's lane: takes its parts, in order, into the intake.
//!
//! Not here: the node's end (`lane.rs`), entries (`intake.rs`).
//! Invariants: a stream carries parts of its own node alone, numbered without gaps; when the
//! leadership it was opened under ends, the stream ends.

use std::io;
use std::sync::Arc;

use bessemer_engine::entry::peek_part;
use bessemer_model::{LaneSeq, NodeId};
use futures_util::future::{Either, select};

use crate::link::{Link, unexpected};
use crate::shared::Shared;
use crate::wire::Message;
use crate::world::World;

/// Serves one forward stream until it ends or leadership does.
pub(crate) async fn serve<W: World>(
    shared: &Arc<Shared<W>>,
    mut link: Link<W>,
    from: NodeId,
) -> io::Result<()> {
    let _counted = shared.intake.count_stream();
    let Some(generation) = shared.intake.generation() else {
        return link.send(&Message::NotLeader).await;
    };
    let mut last: Option<LaneSeq> = None;
    loop {
        let message = {
            let ended = std::pin::pin!(shared.intake.ended(generation));
            let receive = std::pin::pin!(link.receive());
            match select(ended, receive).await {
                Either::Left(_) => None,
                Either::Right((message, _)) => Some(message?),
            }
        };
        let Some(message) = message else { return link.send(&Message::NotLeader).await };
        let Message::Part { bytes } = message else { return Err(unexpected(&message)) };
        let lane = check(&bytes, from, last)?;
        last = Some(lane);
        if !shared.intake.push(generation, bytes).await {
            return link.send(&Message::NotLeader).await;
        }
    }
}

/// The lane number of a part, when it may come next on this stream.
fn check(part: &[u8], from: NodeId, last: Option<LaneSeq>) -> io::Result<LaneSeq> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (lane, _) = peek_part(part).map_err(|error| invalid(&error.to_string()))?;
    let lane = lane.ok_or_else(|| invalid("a forwarded part without a lane"))?;
    let follows = last.is_none_or(|last| lane.boot == last.boot && lane.seq == last.seq + 1);
    if lane.node != from || !follows {
        return Err(invalid("a forwarded part that does not follow the one before"));
    }
    Ok(lane)
}

#[cfg(test)]
mod tests {
    use bessemer_engine::entry::encode_part;
    use bessemer_model::BootCount;

    use super::*;

    #[test]
    fn parts_follow_each_other_or_the_stream_ends() {
        let lane = |node, boot, seq| LaneSeq { node: NodeId(node), boot: BootCount(boot), seq };
        let part = |lane| encode_part(lane, &[]);
        let first = lane(2, 1, 7);
        assert_eq!(check(&part(Some(first)), NodeId(2), None).unwrap(), first);
        assert!(check(&part(Some(lane(2, 1, 8))), NodeId(2), Some(first)).is_ok());
        assert!(check(&part(Some(lane(2, 1, 9))), NodeId(2), Some(first)).is_err());
        assert!(check(&part(Some(lane(2, 2, 8))), NodeId(2), Some(first)).is_err());
        assert!(check(&part(Some(first)), NodeId(3), None).is_err());
        assert!(check(&part(None), NodeId(2), None).is_err());
        assert!(check(b"garbage", NodeId(2), None).is_err());
    }
}
