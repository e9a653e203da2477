//! Changes of the membership: learner first, then joint consensus.
//!
//! Not here: the protocol (openraft), authorization.
//! Invariants: one change at a time; a node id is never used twice; the last voter stays; a change
//! that a lost leader left half-way is finished by the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::consensus::{MembershipChange, MembershipError};
use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};

use crate::event::unless;
use crate::shared::Shared;
use crate::types::{PeerNode, Types};
use crate::watch::{membership_of, metrics_of};
use crate::world::World;

/// How often progress of a learner or of a transfer is looked at.
const LOOK_MS: u64 = 20;
/// How often is looked for a change that was left half-way.
const FINISH_MS: u64 = 1_000;
/// A learner this many entries behind the newest has caught up: the rest comes while it votes.
const CAUGHT_UP_ENTRIES: u64 = 100;

/// Whether this node is making a change.
#[derive(Default)]
pub(crate) struct Changing(AtomicBool);

impl Changing {
    /// `None` while another change is being made.
    fn begin(&self) -> Option<ChangeGuard<'_>> {
        let taken = self.0.swap(true, Ordering::AcqRel);
        (!taken).then_some(ChangeGuard(self))
    }
}

struct ChangeGuard<'a>(&'a Changing);

impl Drop for ChangeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// Makes `change`; the caller bounds the time. Cancelling leaves it where it is: it may finish.
pub(crate) async fn change<W: World>(
    shared: &Arc<Shared<W>>,
    change: MembershipChange,
) -> Result<(), MembershipError> {
    if !shared.role.leading() {
        return Err(MembershipError::NotLeader { leader: shared.role.get().leader });
    }
    let Some(_guard) = shared.changing.begin() else { return Err(MembershipError::InProgress) };
    match change {
        MembershipChange::Join { node, peer_address, http_address } => {
            learn(shared, node, PeerNode { peer_address, http_address }).await?;
            let voters = BTreeMap::from([(node.0, ())]).into_keys().collect();
            write(shared, ChangeMembers::AddVoterIds(voters), false).await
        }
        MembershipChange::Leave { node } => leave(shared, node).await,
        MembershipChange::Replace { old, new, peer_address, http_address } => {
            replace(shared, old, new, PeerNode { peer_address, http_address }).await
        }
        MembershipChange::Transfer { to } => transfer(shared, to).await,
    }
}

async fn replace<W: World>(
    shared: &Arc<Shared<W>>,
    old: NodeId,
    new: NodeId,
    at: PeerNode,
) -> Result<(), MembershipError> {
    known(shared, old)?;
    let membership = membership_of(shared);
    let mut voters: Vec<u64> = membership.voter_ids().collect();
    let old_votes = voters.contains(&old.0);
    // An earlier try may have ended between the two changes that a learner takes.
    let half_way = voters.contains(&new.0) && membership.get_node(&new.0) == Some(&at);
    if old_votes || !half_way {
        learn(shared, new, at).await?;
        voters = membership_of(shared).voter_ids().collect();
        voters.retain(|voter| *voter != old.0);
        voters.push(new.0);
        let voters = ChangeMembers::ReplaceAllVoters(voters.into_iter().collect());
        write(shared, voters, false).await?;
    }
    // A voter that is one no more is gone; a node that never became one is a learner still.
    if old_votes { Ok(()) } else { leave(shared, old).await }
}

/// Finishes what a lost leader, or a caller that gave up, left between the two steps of a change:
/// until then both the old and the new voters have to agree.
pub(crate) async fn finish_changes<W: World>(shared: Arc<Shared<W>>) {
    let pause = Duration::from_millis(FINISH_MS);
    while unless(&shared.stop, shared.runtime.sleep(pause)).await.is_some() {
        let half_way = membership_of(&shared).membership().get_joint_config().len() > 1;
        if !half_way || !shared.role.leading() {
            continue;
        }
        let Some(_guard) = shared.changing.begin() else { continue };
        let nobody = ChangeMembers::AddVoterIds(std::collections::BTreeSet::new());
        let finished = shared.raft().change_membership(nobody, false);
        if unless(&shared.stop, finished).await.is_none() {
            return;
        }
    }
}

fn known<W: World>(shared: &Shared<W>, node: NodeId) -> Result<(), MembershipError> {
    match membership_of(shared).get_node(&node.0) {
        Some(_) => Ok(()),
        None => Err(MembershipError::UnknownNode { node }),
    }
}

/// Adds `node` as a learner and waits until it has caught up.
async fn learn<W: World>(
    shared: &Arc<Shared<W>>,
    node: NodeId,
    at: PeerNode,
) -> Result<(), MembershipError> {
    let membership = membership_of(shared);
    let is_voter = membership.voter_ids().any(|voter| voter == node.0);
    let is_learner = !is_voter && membership.get_node(&node.0) == Some(&at);
    // A learner at this very address is an earlier try that was not finished.
    if !is_learner {
        if node == NodeId(0)
            || membership.get_node(&node.0).is_some()
            || shared.peers.was_member(node)
        {
            return Err(MembershipError::NodeExists { node });
        }
        let nodes = BTreeMap::from([(node.0, at)]);
        write(shared, ChangeMembers::AddNodes(nodes), true).await?;
    }
    loop {
        let metrics = metrics_of(shared);
        let Some(replication) = metrics.replication else {
            return Err(MembershipError::NotLeader { leader: shared.role.get().leader });
        };
        let matched = replication.get(&node.0).copied().flatten();
        let last = metrics.last_log_index.unwrap_or(0);
        if matched.is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last) {
            return Ok(());
        }
        shared.runtime.sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

async fn leave<W: World>(shared: &Arc<Shared<W>>, node: NodeId) -> Result<(), MembershipError> {
    known(shared, node)?;
    let membership = membership_of(shared);
    let voters: Vec<u64> = membership.voter_ids().collect();
    if voters == [node.0] {
        return Err(MembershipError::LastVoter);
    }
    let nodes = [node.0].into_iter().collect();
    if voters.contains(&node.0) {
        write(shared, ChangeMembers::RemoveVoters(nodes), false).await
    } else {
        write(shared, ChangeMembers::RemoveNodes(nodes), false).await
    }
}

async fn write<W: World>(
    shared: &Arc<Shared<W>>,
    change: ChangeMembers<u64, PeerNode>,
    retain: bool,
) -> Result<(), MembershipError> {
    let me = shared.options.node;
    // A leader that was just taken out leads for a moment longer, and must begin nothing.
    if !membership_of(shared).voter_ids().any(|voter| voter == me.0) {
        let leader = shared.role.get().leader.filter(|leader| *leader != me);
        return Err(MembershipError::NotLeader { leader });
    }
    match shared.raft().change_membership(change, retain).await {
        Ok(_) => Ok(()),
        Err(error) => Err(translate::<W>(&error)),
    }
}

fn translate<W: World>(
    error: &RaftError<Types<W::Rt>, ClientWriteError<Types<W::Rt>>>,
) -> MembershipError {
    tracing::warn!(%error, "a change of the membership was refused");
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            MembershipError::NotLeader { leader: forward.leader_id.map(NodeId) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(refused)) => match refused {
            ChangeMembershipError::InProgress(_)
            | ChangeMembershipError::UncommittedLeaderLog(_) => MembershipError::InProgress,
            ChangeMembershipError::EmptyMembership(_) => MembershipError::LastVoter,
            ChangeMembershipError::LearnerNotFound(missing) => {
                MembershipError::UnknownNode { node: NodeId(missing.node_id) }
            }
            ChangeMembershipError::UnsupportedMembershipTransition(_)
            | ChangeMembershipError::NodeMetadataChanged(_) => MembershipError::InProgress,
        },
        RaftError::APIError(
            ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_),
        )
        | RaftError::Fatal(_) => MembershipError::Unknown,
    }
}

/// Hands leadership to `to` and waits until this node knows another leader.
async fn transfer<W: World>(shared: &Arc<Shared<W>>, to: NodeId) -> Result<(), MembershipError> {
    if to == shared.options.node {
        return Ok(());
    }
    if !membership_of(shared).voter_ids().any(|voter| voter == to.0) {
        return Err(MembershipError::UnknownNode { node: to });
    }
    let asked = shared.raft().trigger().transfer_leader(to.0).await;
    asked.map_err(|_| MembershipError::Unknown)?;
    loop {
        let role = shared.role.get();
        match role.leader {
            Some(leader) if leader == to => return Ok(()),
            Some(leader) if leader != shared.options.node => return Err(MembershipError::Unknown),
            Some(_) | None => shared.runtime.sleep(Duration::from_millis(LOOK_MS)).await,
        }
    }
}

/// Hands leadership to the voter that holds most of the log, if there is another voter. Does not
/// wait.
pub(crate) async fn give_away<W: World>(shared: &Arc<Shared<W>>) {
    let metrics = metrics_of(shared);
    let Some(replication) = metrics.replication else { return };
    let voters: Vec<u64> = membership_of(shared).voter_ids().collect();
    let others = voters.into_iter().filter(|voter| *voter != shared.options.node.0);
    let best = others.max_by_key(|voter| replication.get(voter).copied().flatten());
    if let Some(best) = best {
        // Stopped: the watcher of roles reports why.
        let _ = shared.raft().trigger().transfer_leader(best).await;
    }
}
