//! Virtual time and tasks for a whole cluster on one thread.
//!
//! Not here: network, disks (`world`). Two faces: `SimRuntime` is what openraft asks for, static
//! functions that serve the life whose task is being polled; `Sim` is the harness's handle, and
//! `NodeRuntime` one life's clock and tasks behind `seam::runtime`.
//! Invariants: time passes only when a task was polled or nothing is ready; the order of ready
//!   tasks is chance from the seed; nothing of a life runs after its death.

mod clock;
mod executor;
mod instant;
mod join;
mod mpsc;
mod mutex;
mod oneshot;
mod sleep;
mod state;
mod watch;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::BoxFuture;
use bessemer_seam::runtime::Runtime;
use openraft_rt::{AsyncRuntime, OneshotSender, OptionalSend};
use rand::SeedableRng;
use rand::rngs::SmallRng;

pub use clock::Clock;
pub use instant::Instant;
pub use join::{JoinError, JoinHandle};
pub use mpsc::Mpsc;
pub use mutex::Mutex;
pub use oneshot::Oneshot;
pub use sleep::{Elapsed, Sleep, Timeout};
pub use state::{Life, Panic};
pub use watch::Watch;

use crate::seed::Rng;
use crate::trace::TraceTo;
use state::Shared;

/// The whole simulation: made from a seed, run by `block_on`.
pub struct SimRuntime {
    shared: Arc<Shared>,
}

impl SimRuntime {
    pub fn with_seed(seed: u64, trace: TraceTo) -> SimRuntime {
        SimRuntime { shared: Arc::new(Shared::new(seed, trace)) }
    }

    pub fn sim(&self) -> Sim {
        Sim { shared: self.shared.clone() }
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime").finish_non_exhaustive()
    }
}

impl Drop for SimRuntime {
    /// Tasks, and those who mourn a life, own handles of the simulation: they go first, outside
    /// the lock.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let rest = (std::mem::take(&mut state.tasks), std::mem::take(&mut state.lives));
        drop(state);
        drop(rest);
    }
}

/// The harness's handle on a simulation. Cheap to clone.
#[derive(Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

impl Sim {
    /// The simulation that runs on this thread. Panics outside `block_on`.
    #[track_caller]
    pub fn current() -> Sim {
        Sim { shared: executor::current() }
    }

    /// True time, and the node whose task is being polled; `None` outside a simulation.
    pub fn try_here() -> Option<(Duration, NodeId)> {
        let shared = executor::try_current()?;
        let state = shared.lock();
        let node = state.lives.get(&state.current).map_or(NodeId(0), |life| life.node);
        Some((Duration::from_nanos(state.now_ns - clock::START_NS), node))
    }

    /// Begins a life of `node`. `clock` counts for the first life alone: clocks belong to machines.
    pub fn begin_life(&self, node: NodeId, clock: Clock) -> Life {
        self.shared.lock().begin_life(node, clock)
    }

    /// Ends `life` at this moment. Its tasks are dropped before any other task runs.
    pub fn kill(&self, life: Life) {
        self.shared.lock().die(life);
    }

    /// Runs `hook` when `life` dies, before its tasks are dropped. Later hooks run first.
    pub fn on_death(&self, life: Life, hook: impl FnOnce() + Send + 'static) {
        if let Some(state) = self.shared.lock().lives.get_mut(&life) {
            state.on_death.push(Box::new(hook));
        }
    }

    pub fn is_alive(&self, life: Life) -> bool {
        self.shared.lock().alive(life)
    }

    /// Stops (as SIGSTOP does) or continues a life: its clocks go on, its tasks do not.
    pub fn set_paused(&self, life: Life, paused: bool) {
        assert!(life != Life::HARNESS, "the harness is never paused");
        self.shared.lock().set_paused(life, paused);
    }

    /// Lets blocking work of `life` take between the two, in nanoseconds.
    pub fn set_blocking_ns(&self, life: Life, range: (u64, u64)) {
        if let Some(life) = self.shared.lock().lives.get_mut(&life) {
            life.blocking_ns = range;
        }
    }

    /// Changes the clock of a machine that had a life.
    pub fn change_clock(&self, node: NodeId, change: ClockChange) {
        let mut state = self.shared.lock();
        let now_ns = state.now_ns;
        let Some(clock) = state.clocks.get_mut(&node) else { return };
        match change {
            ClockChange::Drift { ppm } => clock.set_drift(now_ns, ppm),
            ClockChange::JumpWall { by_ms } => clock.jump_wall(by_ms),
            ClockChange::SetRight => {
                clock.set_drift(now_ns, 0);
                clock.set_wall(now_ns);
            }
        }
    }

    /// True virtual time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.lock().now_ns - clock::START_NS)
    }

    pub fn runtime(&self, life: Life) -> NodeRuntime {
        NodeRuntime { shared: self.shared.clone(), life }
    }

    /// Spawns a task of `life`; dropped at once when that life is over.
    pub fn spawn(&self, life: Life, task: impl Future<Output = ()> + Send + 'static) {
        executor::spawn(&self.shared, life, Box::pin(task));
    }

    /// A sleep in true time, for the world and the harness.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::within_ns(&self.shared, Life::HARNESS, instant::nanos(duration))
    }

    /// A stream of chance of one part of the world.
    pub fn fork_rng(&self) -> Rng {
        self.shared.lock().rng.fork()
    }

    /// A sleep by the clock of `life`, for the seams of that life.
    pub fn sleep_of(&self, life: Life, duration: Duration) -> Sleep {
        Sleep::within_ns(&self.shared, life, instant::nanos(duration))
    }

    /// Adds a line to the trace.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        let mut state = self.shared.lock();
        let now_ns = state.now_ns - clock::START_NS;
        state.trace.note(now_ns, event);
    }

    pub fn trace_hash(&self) -> u64 {
        self.shared.lock().trace.hash()
    }

    pub fn trace_lines(&self) -> u64 {
        self.shared.lock().trace.lines()
    }

    /// The newest lines of the trace, oldest first.
    pub fn trace_tail(&self) -> Vec<String> {
        self.shared.lock().trace.tail()
    }

    /// Every panic of a task so far.
    pub fn panics(&self) -> Vec<Panic> {
        self.shared.lock().panics.clone()
    }

    /// How often a task was polled: the cost of a run.
    pub fn polls(&self) -> u64 {
        self.shared.lock().polls
    }
}

/// A change of one machine's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockChange {
    /// The rate: at most 100,000 ppm either way.
    Drift {
        ppm: i64,
    },
    JumpWall {
        by_ms: i64,
    },
    /// True rate and true wall time.
    SetRight,
}

/// One life's time, tasks and chance.
#[derive(Clone)]
pub struct NodeRuntime {
    shared: Arc<Shared>,
    life: Life,
}

impl Runtime for NodeRuntime {
    fn elapsed(&self) -> Duration {
        let state = self.shared.lock();
        Duration::from_nanos(state.clock(self.life).local_ns(state.now_ns))
    }

    fn wall_ms(&self) -> u64 {
        let state = self.shared.lock();
        state.clock(self.life).wall_ms(state.now_ns)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Sleep::within_ns(&self.shared, self.life, instant::nanos(duration)))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        executor::spawn(&self.shared, self.life, task);
    }

    fn random(&self) -> u64 {
        self.shared.lock().rng.draw()
    }
}

impl AsyncRuntime for SimRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = Mpsc;
    type Watch = Watch;
    type Oneshot = Oneshot;
    type Mutex<T: OptionalSend + 'static> = Mutex<T>;

    #[track_caller]
    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let shared = executor::current();
        let life = shared.lock().current;
        let (sender, receiver) = oneshot::channel();
        executor::spawn(&shared, life, Box::pin(join::Reporting::new(future, sender)));
        JoinHandle { receiver }
    }

    #[track_caller]
    fn sleep(duration: Duration) -> Sleep {
        let now = <Instant as openraft_rt::Instant>::now();
        Sleep::until_here((now + duration).0)
    }

    #[track_caller]
    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep::until_here(deadline.0)
    }

    #[track_caller]
    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        Timeout::new(future, Self::sleep(duration))
    }

    #[track_caller]
    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Instant,
        future: F,
    ) -> Timeout<F> {
        Timeout::new(future, Self::sleep_until(deadline))
    }

    fn is_panic(error: &JoinError) -> bool {
        matches!(error, JoinError::Panic(_))
    }

    #[track_caller]
    fn thread_rng() -> SmallRng {
        SmallRng::seed_from_u64(executor::current().lock().rng.draw())
    }

    /// A simulation of seed 0; `threads` does not matter.
    fn new(_threads: usize) -> SimRuntime {
        SimRuntime::with_seed(0, TraceTo::Hash)
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        executor::block_on(&self.shared, future)
    }

    /// Runs `work` on the one thread after a virtual delay, whether or not the caller still waits.
    /// What it does happens at one moment; a life that dies before never does it.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = executor::current();
        let (sender, receiver) = oneshot::channel();
        let (life, delay_ns) = {
            let mut state = shared.lock();
            let life = state.current;
            let (low, high) =
                state.lives.get(&life).map_or(state::BLOCKING_NS, |life| life.blocking_ns);
            (life, state.rng.between(low, high))
        };
        let delay = Sleep::within_ns(&shared, life, delay_ns);
        let task = async move {
            delay.await;
            // A caller that went away does not want the answer.
            let _ = sender.send(work());
        };
        executor::spawn(&shared, life, Box::pin(task));
        async move { receiver.await.map_err(|gone| io::Error::other(gone.to_string())) }
    }
}
