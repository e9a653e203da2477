//! The service itself: what every use case needs, and the duty that feeds waiters and caches.
//!
//! Not here: any single use case.

use std::sync::Arc;
use std::time::Duration;

use bessemer_engine::encode_request;
use bessemer_model::{Command, Effect, Outcome, ProjectId, Rejection, Request, RetryKey};
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::{Consensus, EffectStream, Effects};
use bessemer_seam::kv::KvRead;
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::runtime::SharedRuntime;

use crate::authorize::TokenCache;
use crate::delivery::Undoer;
use crate::failure::ServiceError;
use crate::options::Options;
use crate::race::{First, race};
use crate::waiters::Waiters;

/// How often the lines of waiters are compared with the state: hints may be lost.
const PATROL_PERIOD: Duration = Duration::from_secs(1);
/// Lines looked at in one period, and in one go after hints were lost.
const PATROL_LINES_MAX: usize = 256;

/// Whether a read must see everything committed before it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Linearizable: one ReadIndex round, shared with reads that wait together.
    Current,
    /// What this node holds now, however old: on request only, and marked by the doors.
    Stale,
}

/// All use cases of one node. Shared; holds no state but caches and waiters.
pub struct Service {
    pub(crate) consensus: Arc<dyn Consensus>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) options: Options,
    pub(crate) tokens: TokenCache,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) undoer: Undoer,
}

/// The service's one task: the owner runs it for as long as the service is used. It ends when
/// the node's effects end.
pub type Duty = BoxFuture<'static, ()>;

impl Service {
    /// A service and its duty. Without a running duty long polls are answered late.
    pub fn new(
        consensus: Arc<dyn Consensus>,
        runtime: SharedRuntime,
        options: Options,
    ) -> (Arc<Service>, Duty) {
        let effects = consensus.effects();
        let service = Arc::new(Service {
            tokens: TokenCache::new(options.tokens_cached_max),
            waiters: Waiters::new(options.waiters_max),
            undoer: Undoer {
                consensus: consensus.clone(),
                runtime: runtime.clone(),
                patience: options.patience,
            },
            consensus,
            runtime,
            options,
        });
        let duty = Box::pin(service.clone().follow(effects));
        (service, duty)
    }

    /// Agreement, for the doors that show how the node is.
    pub fn consensus(&self) -> &Arc<dyn Consensus> {
        &self.consensus
    }

    /// Ends all long polls that wait, and refuses new ones, as `NotDone(ShuttingDown)`.
    pub fn drain(&self) {
        self.waiters.drain();
    }

    /// Whether `drain` was called, or the node's effects ended.
    pub fn draining(&self) -> bool {
        self.waiters.draining()
    }

    /// Long polls that wait on this node now.
    pub fn waiting(&self) -> usize {
        self.waiters.waiting()
    }

    /// Proposes `command` for `project`, under the idempotency key `key` if there is one.
    ///
    /// A key of 0 or over 255 bytes is rejected by the log (`LengthOutOfRange`).
    pub(crate) async fn propose(
        &self,
        project: &ProjectId,
        command: Command,
        key: Option<&str>,
    ) -> Result<Outcome, ServiceError> {
        let request = keyed(project, command, key);
        Ok(self.consensus.propose(request, self.options.patience).await?)
    }

    /// A frozen state: after a barrier unless `freshness` says otherwise.
    pub(crate) async fn view(&self, freshness: Freshness) -> Result<Arc<dyn KvRead>, ServiceError> {
        match freshness {
            Freshness::Current if mutants::on(Mutant::StaleReadByDefault) => (),
            Freshness::Current => self.consensus.barrier(self.options.patience).await?,
            Freshness::Stale => (),
        }
        Ok(self.consensus.view())
    }

    /// Waits for effects and periods, and tells waiters and caches.
    async fn follow(self: Arc<Self>, mut effects: Box<dyn EffectStream>) {
        let mut period = self.runtime.sleep(PATROL_PERIOD);
        loop {
            let event = {
                let mut next = effects.next();
                race(next.as_mut(), period.as_mut()).await
            };
            match event {
                First::Left(Some(Effects::Some(effects))) => self.tell(&effects),
                First::Left(Some(Effects::Lagged)) => {
                    self.tokens.forget_all();
                    self.waiters.restart_patrol();
                    self.patrol_all().await;
                }
                First::Left(None) => {
                    self.drain();
                    return;
                }
                First::Right(()) => {
                    self.patrol();
                    period = self.runtime.sleep(PATROL_PERIOD);
                }
            }
        }
    }

    fn tell(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::MessagesReady { project, queue } => self.waiters.ready(project, queue),
                Effect::QueueDeleted { project, queue } => self.waiters.deleted(project, queue),
                Effect::TokenRevoked { token, .. } => self.tokens.forget(token),
                // Sweeping is the leader's duty.
                Effect::GarbageLeft => (),
            }
        }
    }

    /// Looks at the next lines of waiters and calls the first of each that could be served.
    /// Reads this node's state only: nothing is proposed for a queue without ready messages.
    /// Returns whether it came to the end of the lines.
    fn patrol(&self) -> bool {
        let lines = self.waiters.next_lines(PATROL_LINES_MAX);
        if lines.is_empty() {
            return true;
        }
        let view = self.consensus.view();
        for (project, queue) in &lines {
            match bessemer_engine::read::count_ready(view.as_ref(), project, queue, 1) {
                Ok(Ok(0)) => (),
                Ok(Ok(_)) => self.waiters.ready(project, queue),
                // The queue is missing, or its project is.
                Ok(Err(_)) => self.waiters.deleted(project, queue),
                // The replica reads the same state and stops the node; waiters end with it.
                Err(_) => return true,
            }
        }
        lines.len() < PATROL_LINES_MAX
    }

    /// Patrols every line once, letting others run in between.
    async fn patrol_all(&self) {
        while !self.patrol() {
            self.runtime.sleep(Duration::ZERO).await;
        }
    }
}

/// The request that carries `command`; its hash covers project and command, not the key.
pub(crate) fn keyed(project: &ProjectId, command: Command, key: Option<&str>) -> Request {
    let mut request = Request { project: project.clone(), retry: None, command };
    if let Some(key) = key {
        let hash = blake3::hash(&encode_request(&request));
        let mut request_hash = [0; 16];
        request_hash.copy_from_slice(&hash.as_bytes()[..16]);
        request.retry = Some(RetryKey { key: key.into(), request_hash });
    }
    request
}

/// The outcome was none of those the command can have: the two halves of the program disagree.
///
/// Panics: state is suspect, and the caller must not be told a guess.
pub(crate) fn mismatched(command: &str) -> ! {
    panic!("the outcome of {command} is one of another command")
}

/// `ProjectMissing`, as an error.
pub(crate) fn project_missing(project: &ProjectId) -> ServiceError {
    ServiceError::Rejected(Rejection::ProjectMissing { project: project.clone() })
}
