//! The cluster in `/v1`, for its operator.

use bessemer_model::NodeId;
use bessemer_seam::consensus::{ClusterStatus, Member, MembershipChange};
use serde::{Deserialize, Serialize};

use super::shapes::{Done, parse};
use crate::call::Call;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Serialize)]
struct Shown<'a> {
    me: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<u64>,
    term: u64,
    committed: u64,
    applied: u64,
    /// Hash chain over all applied batches, as 64 hex digits: equal on all nodes at one index.
    chain: String,
    log_time_ms: u64,
    disk_low: bool,
    members: Vec<ShownMember<'a>>,
}

#[derive(Serialize)]
struct ShownMember<'a> {
    node: u64,
    peer_address: &'a str,
    http_address: &'a str,
    voter: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<u64>,
}

fn show_member(member: &Member) -> ShownMember<'_> {
    ShownMember {
        node: member.node.0,
        peer_address: &member.peer_address,
        http_address: &member.http_address,
        voter: member.voter,
        matched: member.matched.map(|index| index.0),
    }
}

fn show(status: &ClusterStatus) -> Shown<'_> {
    Shown {
        me: status.me.0,
        leader: status.leader.map(|node| node.0),
        term: status.term,
        committed: status.committed.0,
        applied: status.applied.0,
        chain: status.chain.iter().map(|byte| format!("{byte:02x}")).collect(),
        log_time_ms: status.log_time.0,
        disk_low: status.disk_low,
        members: status.members.iter().map(show_member).collect(),
    }
}

pub(super) async fn status(call: Call) -> Result<Reply, Refusal> {
    let status = call.service.cluster_status(&call.caller)?;
    Ok(Reply::ok(&show(&status)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinBody {
    node: u64,
    peer_address: String,
    http_address: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeBody {
    node: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplaceBody {
    old: u64,
    new: u64,
    peer_address: String,
    http_address: String,
}

pub(super) async fn join(call: Call) -> Result<Reply, Refusal> {
    let JoinBody { node, peer_address, http_address } = parse(&call.body)?;
    let node = NodeId(node);
    change(&call, MembershipChange::Join { node, peer_address, http_address }).await
}

pub(super) async fn leave(call: Call) -> Result<Reply, Refusal> {
    let body: NodeBody = parse(&call.body)?;
    change(&call, MembershipChange::Leave { node: NodeId(body.node) }).await
}

pub(super) async fn replace(call: Call) -> Result<Reply, Refusal> {
    let ReplaceBody { old, new, peer_address, http_address } = parse(&call.body)?;
    let (old, new) = (NodeId(old), NodeId(new));
    change(&call, MembershipChange::Replace { old, new, peer_address, http_address }).await
}

pub(super) async fn transfer(call: Call) -> Result<Reply, Refusal> {
    let body: NodeBody = parse(&call.body)?;
    change(&call, MembershipChange::Transfer { to: NodeId(body.node) }).await
}

async fn change(call: &Call, change: MembershipChange) -> Result<Reply, Refusal> {
    call.service.change_membership(&call.caller, change).await?;
    Ok(Reply::ok(&Done {}))
}
