//! What all clients share: the way to the nodes, the tokens, the record; making and emptying the
//! queues.
//!
//! Not here: what one client does (`client.rs`), judging answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bessemer_history::event::{Answer, Held, Op, Operation, QueueKind, Tenant, TokenNumber, Uid};
use bessemer_model::{DeadLetterPatch, Millis, NodeId, ProjectId, QueuePatch, Quota, TokenId};
use bessemer_service::{Caller, ServiceError};

use crate::calls::{self, Ask, Reply};
use crate::doors::Doors;
use crate::node::{ADMIN_TOKEN, PATIENCE};
use crate::queues::{QUEUES, TENANTS, project_of, project_of_queue, queue_name};
use crate::record::Record;
use crate::runtime::Sim;
use crate::seed::Rng;

/// A token as its minter knows it.
#[derive(Clone)]
struct Token {
    project: ProjectId,
    id: TokenId,
    text: String,
}

/// What all clients share.
pub struct Workload {
    pub sim: Sim,
    pub doors: Doors,
    pub record: Record,
    operations_left: AtomicU64,
    next_uid: AtomicU64,
    next_token: AtomicU64,
    tokens: Mutex<BTreeMap<TokenNumber, Token>>,
    stopped: AtomicBool,
}

impl Workload {
    /// Clients end after `operations_max` operations in all.
    pub fn new(sim: &Sim, doors: Doors, record: Record, operations_max: u64) -> Arc<Workload> {
        Arc::new(Workload {
            operations_left: AtomicU64::new(operations_max),
            sim: sim.clone(),
            doors,
            record,
            next_uid: AtomicU64::new(1),
            next_token: AtomicU64::new(1),
            tokens: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Lets every client end after what it is doing.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether clients shall end; counts one more operation when not.
    pub fn stopped(&self) -> bool {
        let left = self.operations_left.load(Ordering::Relaxed);
        self.operations_left.store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0 || self.stopped.load(Ordering::Relaxed)
    }

    pub fn uid(&self) -> Uid {
        self.next_uid.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes the projects and their queues; tries until each is there.
    pub async fn set_up(&self, rng: &mut Rng) {
        for tenant in 0..TENANTS {
            self.insist(rng, |service| {
                Box::pin(async move {
                    let id = Some(project_of(tenant));
                    let made = service.create_project(
                        &Caller::Admin,
                        id,
                        "simulation",
                        Quota::default(),
                        None,
                    );
                    made.await.map(drop)
                })
            })
            .await;
        }
        // The queue of the dead first: the dying name it.
        for queue in (0..QUEUES.len()).rev() {
            let dead_letter = match QUEUES[queue].kind {
                QueueKind::Dying { into, max_reservations } => Some(DeadLetterPatch::Set {
                    queue: Some(queue_name(into)),
                    max_reservations: Some(max_reservations),
                }),
                _ => None,
            };
            let patch = QueuePatch { dead_letter, ..QueuePatch::default() };
            self.insist(rng, |service| {
                let patch = patch.clone();
                Box::pin(async move {
                    let (project, name) = (project_of_queue(queue), queue_name(queue));
                    service.put_queue(&Caller::Admin, &project, name, patch, None).await.map(drop)
                })
            })
            .await;
        }
    }

    /// Asks some node until one says yes, or that it was done before.
    async fn insist(
        &self,
        rng: &mut Rng,
        ask: impl Fn(
            Arc<bessemer_service::Service>,
        ) -> bessemer_seam::BoxFuture<'static, Result<(), ServiceError>>,
    ) {
        loop {
            if let Some(door) = self.doors.door(self.doors.any(rng)) {
                let done = self.doors.call(door, PATIENCE, |node| ask(node.service().clone()));
                if let Some(Ok(()) | Err(ServiceError::Rejected(_))) = done.await {
                    return;
                }
            }
            self.sim.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Mints a token of `tenant`, unless it fails.
    pub async fn mint(&self, node: NodeId, tenant: Tenant) -> Option<TokenNumber> {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let answer = self.call(node, Op::Mint { tenant, token }, None, None).await;
        (answer == Answer::Minted).then_some(token)
    }

    /// One call and its record. With `token` the client shows that one, else the operator's.
    pub async fn call(
        &self,
        node: NodeId,
        op: Op,
        token: Option<TokenNumber>,
        key: Option<String>,
    ) -> Answer {
        let called_ns = self.sim.now().as_nanos() as u64;
        let log_low = self.doors.log_time(node).unwrap_or_default();
        let reply = self.ask(node, op.clone(), token, key).await;
        if let Some(undo) = reply.undo {
            // Only what reached its client is not taken back.
            undo.delivered();
        }
        if let (Op::Mint { tenant, token }, Some((id, text))) = (&op, reply.token) {
            let known = Token { project: project_of(*tenant), id, text };
            self.tokens().insert(*token, known);
        }
        let log_high = self.doors.log_time(node).unwrap_or(Millis(u64::MAX));
        let answered_ns = self.sim.now().as_nanos() as u64;
        let answer = reply.answer;
        self.sim.note(format_args!("client {node} {token:?} {op:?} -> {answer:?}"));
        let operation = Operation {
            node,
            token,
            called_ns,
            answered_ns,
            log_low,
            log_high,
            op,
            answer: answer.clone(),
        };
        self.record.operation(operation);
        answer
    }

    async fn ask(
        &self,
        node: NodeId,
        op: Op,
        token: Option<TokenNumber>,
        key: Option<String>,
    ) -> Reply {
        let Some(door) = self.doors.door(node) else {
            // Refused connections cost a client a little time.
            self.sim.sleep(Duration::from_millis(10)).await;
            return Reply::of(Answer::NotDone);
        };
        let (wait, is_read) = match &op {
            Op::Reserve { wait, .. } => (Duration::from_millis(wait.0), false),
            Op::Look { .. } => (Duration::ZERO, true),
            _ => (Duration::ZERO, false),
        };
        let ask = {
            let tokens = self.tokens();
            let text = |token| tokens.get(&token).map(|token| token.text.clone());
            let shown = token.and_then(text).unwrap_or_else(|| ADMIN_TOKEN.into());
            let revoked = match &op {
                Op::Revoke { token } => {
                    tokens.get(token).map(|token| (token.project.clone(), token.id.clone()))
                }
                _ => None,
            };
            Ask { op, token: shown, key, revoked }
        };
        // Who asks may be found out by a barrier of its own first.
        let patience = 2 * PATIENCE + wait;
        let reply = self
            .doors
            .call_lossy(door, patience, |node| Box::pin(calls::call(node.service().clone(), ask)));
        let lost = if is_read { Answer::NotDone } else { Answer::Unknown };
        reply.await.unwrap_or_else(|| Reply::of(lost))
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, BTreeMap<TokenNumber, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Empties every queue after the faults; gives up at `limit` of true time. Returns whether all
/// were found empty, several times over a span longer than any reservation or delay.
pub async fn drain(workload: &Workload, rng: &mut Rng, limit: Duration) -> bool {
    let quiet = Duration::from_secs(20);
    let mut empty_since: Option<Duration> = None;
    while workload.sim.now() < limit {
        let mut found = false;
        let mut sure = true;
        for queue in 0..QUEUES.len() {
            let node = workload.doors.any(rng);
            let (timeout, wait) = (Millis(5_000), Millis::ZERO);
            let op = Op::Reserve { queue, count: 8, timeout, wait };
            match workload.call(node, op, None, None).await {
                Answer::Reserved(gots) => {
                    found |= !gots.is_empty();
                    for got in gots {
                        let (message, reservation) = (got.message, got.reservation);
                        let node = workload.doors.any(rng);
                        let held = Held { queue, message, reservation };
                        workload.call(node, Op::Ack(held), None, None).await;
                    }
                }
                _ => sure = false,
            }
        }
        let now = workload.sim.now();
        if found || !sure {
            empty_since = None;
        } else if now - *empty_since.get_or_insert(now) > quiet {
            return true;
        }
        if !found {
            workload.sim.sleep(Duration::from_millis(500)).await;
        }
    }
    false
}
