//! Two small watchers: who leads, and what the peers' clocks and logs say.
//!
//! Not here: acting on it (`lane.rs`, `intake.rs`, `steering.rs`).
//! Invariant: the intake is open only while this node leads, and is opened anew for each term.

use std::sync::Arc;
use std::time::Duration;

use bessemer_model::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use openraft::{RaftMetrics, ServerState};

use crate::codec::log_index;
use crate::event::unless;
use crate::link::timed_call;
use crate::role::Role;
use crate::shared::Shared;
use crate::types::{StoredMembership, Types};
use crate::wire::Message;
use crate::world::World;

/// A leader whose clock is off gives leadership away at most this often.
const GIVE_AWAY_MS_MIN: u64 = 30_000;

/// Follows openraft's idea of who leads.
pub(crate) async fn roles<W: World>(shared: Arc<Shared<W>>) {
    let mut metrics = shared.raft().server_metrics();
    loop {
        let role = role_of(&shared, &metrics.borrow_and_update());
        if shared.role.set(role.clone()) {
            tracing::info!(leader = ?role.leader, term = role.term, "leadership changed");
            if role.leading {
                lead(&shared);
            } else {
                shared.intake.close();
            }
            if role.leader.is_some() {
                shared.proposer.leader_known(shared.runtime.elapsed());
            }
            shared.proposer.event.notify();
        }
        match unless(&shared.stop, metrics.changed()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(_)) => {
                shared.intake.close();
                return report_end(&shared);
            }
        }
    }
}

fn report_end<W: World>(shared: &Shared<W>) {
    let metrics = shared.raft().metrics();
    let state = metrics.borrow_watched().running_state.clone();
    match state {
        Err(error) => shared.fatal.report(format_args!("agreement stopped: {error}")),
        Ok(()) => shared.fatal.report("agreement stopped"),
    }
}

fn lead<W: World>(shared: &Shared<W>) {
    let voters = voters(shared);
    let me = (shared.options.node, shared.runtime.wall_ms());
    let floor = shared.progress.get().log_time;
    shared.steering.lead(me, &voters, floor, shared.runtime.elapsed());
    shared.intake.open();
    shared.progress.changed.notify();
}

fn role_of<W: World>(shared: &Shared<W>, metrics: &RaftServerMetrics<Types<W::Rt>>) -> Role {
    let me = shared.options.node.0;
    let leading = metrics.state == ServerState::Leader;
    let leader = metrics.current_leader.filter(|leader| leading || *leader != me);
    let node = leader.and_then(|leader| metrics.membership_config.get_node(&leader).cloned());
    Role {
        leader: leader.map(NodeId),
        leader_address: match node {
            Some(node) if !leading => node.peer_address,
            _ => String::new(),
        },
        term: metrics.vote.leader_id.term,
        leading,
        since: shared.runtime.elapsed(),
        generation: 0,
    }
}

pub(crate) fn metrics_of<W: World>(shared: &Shared<W>) -> RaftMetrics<Types<W::Rt>> {
    // Cloned at once: holding the borrow could block openraft's core.
    shared.raft().metrics().borrow_watched().clone()
}

pub(crate) fn membership_of<W: World>(shared: &Shared<W>) -> Arc<StoredMembership> {
    shared.raft().server_metrics().borrow_watched().membership_config.clone()
}

fn voters<W: World>(shared: &Shared<W>) -> Vec<NodeId> {
    membership_of(shared).voter_ids().map(NodeId).collect()
}

/// Asks every peer for its clock, steers log time, remembers what peers hold.
pub(crate) async fn pings<W: World>(shared: Arc<Shared<W>>) {
    let interval = Duration::from_millis(shared.options.ping_interval_ms);
    let mut given_away: Option<Duration> = None;
    loop {
        let asks = futures_util::future::join_all(
            peers(&shared).into_iter().map(|peer| ask(&shared, peer)),
        );
        if unless(&shared.stop, asks).await.is_none() {
            return;
        }
        steer(&shared, &mut given_away).await;
        remember(&shared);
        if unless(&shared.stop, shared.runtime.sleep(interval)).await.is_none() {
            return;
        }
    }
}

fn peers<W: World>(shared: &Shared<W>) -> Vec<(NodeId, String)> {
    let membership = membership_of(shared);
    let others = membership.nodes().filter(|(id, _)| **id != shared.options.node.0);
    others.map(|(id, node)| (NodeId(*id), node.peer_address.clone())).collect()
}

async fn ask<W: World>(shared: &Arc<Shared<W>>, (peer, address): (NodeId, String)) {
    let limit = Duration::from_millis(shared.options.call_timeout_ms);
    let ping = Message::Ping { held: shared.peers.held() };
    let answer = timed_call(shared, peer, &address, &ping, limit).await;
    if let Ok((Message::Pong { wall_ms, disk_low }, round_trip)) = answer {
        shared.disks.heard(peer, disk_low);
        shared.steering.heard(peer, wall_ms, shared.runtime.elapsed(), round_trip);
    }
}

async fn steer<W: World>(shared: &Arc<Shared<W>>, given_away: &mut Option<Duration>) {
    let me = (shared.options.node, shared.runtime.wall_ms());
    let now = shared.runtime.elapsed();
    let off_ms = shared.steering.steer(me, &voters(shared), now);
    shared.clock_off_ms.store(off_ms.unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
    let off = off_ms.is_some_and(|off_ms| off_ms > shared.options.clock_off_ms_max);
    let pause = Duration::from_millis(GIVE_AWAY_MS_MIN);
    let again = given_away.is_none_or(|at| now.saturating_sub(at) >= pause);
    if off && again && shared.role.leading() {
        tracing::error!(?off_ms, "this node's wall clock is off; it gives leadership away");
        *given_away = Some(now);
        crate::membership::give_away(shared).await;
    }
}

/// The leader remembers what each node, itself too, is known to hold durably and committed.
pub(crate) fn remember<W: World>(shared: &Shared<W>) {
    let metrics = metrics_of(shared);
    let (Some(replication), Some(committed)) = (metrics.replication, metrics.local_committed)
    else {
        return;
    };
    for (node, matched) in replication {
        if let Some(matched) = matched {
            let safe = log_index(matched.index.min(committed.index));
            shared.peers.holds(NodeId(node), safe.0);
        }
    }
}
