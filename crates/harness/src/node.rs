//! One node that agrees with itself at once: a real engine over the map in memory, behind the
//! `Consensus` seam, with switches to hold, fail and lose what a cluster can hold, fail and lose.
//!
//! Not here: agreement. The real thing is tested with `replica`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bessemer_engine::{Engine, PartResult, encode_batch, encode_part};
use bessemer_model::{
    BootCount, Command, Effect, Failure, GroupId, LaneSeq, LogIndex, Millis, NewMessage, NodeId,
    Outcome, ProjectId, QueueName, Quota, Request,
};
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::{
    ClusterStatus, Consensus, EffectStream, Effects, Member, MembershipChange, MembershipError,
};
use bessemer_seam::kv::{Kv, KvRead};
use bessemer_seam::kv_memory::MemoryKv;
use tokio::sync::{Notify, mpsc};

const ME: NodeId = NodeId(1);

struct Applying {
    engine: Engine<MemoryKv>,
    index: u64,
    seq: u64,
}

type Subscriber = (mpsc::Sender<Vec<Effect>>, Arc<AtomicBool>);

/// The node. Every proposal is one entry.
pub struct TestNode {
    applying: Mutex<Applying>,
    subscribers: Mutex<Vec<Subscriber>>,
    /// Milliseconds since the epoch; the stamp of the next entry.
    pub now_ms: AtomicU64,
    /// Reserves that were proposed.
    pub reserves: AtomicU64,
    pub proposals: AtomicU64,
    /// While set, outcomes are applied but do not return.
    pub holding: AtomicBool,
    pub let_go: Notify,
    /// Answers the next proposals instead of applying them.
    failures: Mutex<VecDeque<Failure>>,
    /// While set, effects are lost without a trace.
    pub deaf: AtomicBool,
    membership: Mutex<Vec<MembershipChange>>,
    pub no_leader: AtomicBool,
    pub no_majority: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestNode {
    fn applying(&self) -> MutexGuard<'_, Applying> {
        lock(&self.applying)
    }

    pub fn new() -> Arc<TestNode> {
        let engine = Engine::open(MemoryKv::new(), GroupId(0), ME, BootCount(1));
        let engine = engine.expect("an empty state opens");
        let node = TestNode {
            applying: Mutex::new(Applying { engine, index: 0, seq: 0 }),
            subscribers: Mutex::default(),
            now_ms: AtomicU64::new(1_700_000_000_000),
            reserves: AtomicU64::new(0),
            proposals: AtomicU64::new(0),
            holding: AtomicBool::new(false),
            let_go: Notify::new(),
            failures: Mutex::default(),
            deaf: AtomicBool::new(false),
            membership: Mutex::default(),
            no_leader: AtomicBool::new(false),
            no_majority: AtomicBool::new(false),
        };
        let init = Command::InitGroup { cluster_version: 1, secret: [7; 32] };
        node.apply(Request { project: ProjectId::new(""), retry: None, command: init })
            .expect("a new group");
        Arc::new(node)
    }

    /// Applies `request` as the next entry and tells its effects.
    pub fn apply(&self, request: Request) -> Result<Outcome, Failure> {
        let mut applying = self.applying();
        applying.index += 1;
        let own = matches!(request.command, Command::InitGroup { .. } | Command::Tick);
        let lane = (!own).then(|| {
            applying.seq += 1;
            LaneSeq { node: ME, boot: BootCount(1), seq: applying.seq }
        });
        let stamp = Millis(self.now_ms.load(Ordering::SeqCst));
        let batch = encode_batch(stamp, &[encode_part(lane, &[request])]);
        let index = LogIndex(applying.index);
        let told = applying.engine.apply(index, &batch).expect("the engine goes on");
        applying.engine.commit(&[]).expect("memory does not fail");
        if !told.effects.is_empty() && !self.deaf.load(Ordering::SeqCst) {
            for (sender, lagged) in lock(&self.subscribers).iter() {
                if sender.try_send(told.effects.clone()).is_err() {
                    lagged.store(true, Ordering::SeqCst);
                }
            }
        }
        match told.parts.into_iter().next().expect("one part").result {
            PartResult::Fresh(mut results) => Ok(results.remove(0)?),
            other => panic!("the only lane is in order, yet {other:?}"),
        }
    }

    /// Moves time by `by_ms` and settles what is due.
    pub fn pass(&self, by_ms: u64) {
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
        let command = Command::Tick;
        self.apply(Request { project: ProjectId::new(""), retry: None, command }).expect("a tick");
    }

    /// Lets effects be lost as a full subscription loses them: the subscriber is told.
    pub fn lag(&self) {
        for (sender, lagged) in lock(&self.subscribers).iter() {
            lagged.store(true, Ordering::SeqCst);
            let _ = sender.try_send(Vec::new());
        }
    }

    pub fn hold(&self, holding: bool) {
        self.holding.store(holding, Ordering::SeqCst);
        self.let_go.notify_waiters();
    }

    pub fn reserves(&self) -> u64 {
        self.reserves.load(Ordering::SeqCst)
    }

    pub fn fail_next(&self, failure: Failure) {
        lock(&self.failures).push_back(failure);
    }

    /// The changes that were asked for.
    pub fn membership(&self) -> Vec<MembershipChange> {
        lock(&self.membership).clone()
    }

    pub fn create_project(&self, id: &str, quota: Quota) -> ProjectId {
        let project = ProjectId::new(id);
        let command = Command::CreateProject { name: "test".into(), quota };
        self.apply(Request { project: project.clone(), retry: None, command }).expect("created");
        project
    }

    pub fn post(&self, project: &ProjectId, queue: &str, bodies: &[&str]) {
        let messages = bodies
            .iter()
            .map(|body| NewMessage {
                body: body.as_bytes().to_vec(),
                delay: Millis::ZERO,
                expiration: None,
                ordering_key: None,
            })
            .collect();
        let command = Command::PostMessages { queue: QueueName::new(queue), messages };
        self.apply(Request { project: project.clone(), retry: None, command }).expect("posted");
    }
}

impl Consensus for TestNode {
    fn propose(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Outcome, Failure>> {
        Box::pin(async move {
            self.proposals.fetch_add(1, Ordering::SeqCst);
            if matches!(request.command, Command::ReserveMessages { .. }) {
                self.reserves.fetch_add(1, Ordering::SeqCst);
            }
            let failure = lock(&self.failures).pop_front();
            if let Some(failure) = failure {
                return Err(failure);
            }
            // A round of agreement takes a while: others run.
            tokio::task::yield_now().await;
            let outcome = self.apply(request);
            loop {
                let let_go = self.let_go.notified();
                if !self.holding.load(Ordering::SeqCst) {
                    return outcome;
                }
                let_go.await;
            }
        })
    }

    fn barrier(&self, _: Duration) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn view(&self) -> Arc<dyn KvRead> {
        Arc::new(self.applying().engine.kv().view())
    }

    fn log_time(&self) -> Millis {
        self.applying().engine.applied().log_time
    }

    fn effects(&self) -> Box<dyn EffectStream> {
        let (sender, receiver) = mpsc::channel(1024);
        let lagged = Arc::new(AtomicBool::new(false));
        lock(&self.subscribers).push((sender, lagged.clone()));
        Box::new(Stream { receiver, lagged })
    }

    fn status(&self) -> ClusterStatus {
        let applied = self.applying().engine.applied();
        ClusterStatus {
            me: ME,
            leader: (!self.no_leader.load(Ordering::SeqCst)).then_some(ME),
            term: 1,
            committed: applied.index,
            applied: applied.index,
            chain: applied.chain,
            log_time: applied.log_time,
            has_majority: !self.no_majority.load(Ordering::SeqCst),
            clock_off: Millis(0),
            clock_wrong: false,
            disk_low: false,
            members: vec![Member {
                node: ME,
                peer_address: "127.0.0.1:1".into(),
                http_address: "127.0.0.1:2".into(),
                voter: true,
                matched: Some(applied.index),
            }],
        }
    }

    fn change_membership(
        &self,
        change: MembershipChange,
        _: Duration,
    ) -> BoxFuture<'_, Result<(), MembershipError>> {
        if self.no_leader.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(MembershipError::NotLeader { leader: None })));
        }
        let last = matches!(change, MembershipChange::Leave { node } if node == ME);
        lock(&self.membership).push(change);
        Box::pin(std::future::ready(if last { Err(MembershipError::LastVoter) } else { Ok(()) }))
    }
}

struct Stream {
    receiver: mpsc::Receiver<Vec<Effect>>,
    lagged: Arc<AtomicBool>,
}

impl EffectStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Option<Effects>> {
        Box::pin(async {
            loop {
                if self.lagged.swap(false, Ordering::SeqCst) {
                    while self.receiver.try_recv().is_ok() {}
                    return Some(Effects::Lagged);
                }
                let effects = self.receiver.recv().await?;
                if !effects.is_empty() {
                    return Some(Effects::Some(effects));
                }
            }
        })
    }
}
