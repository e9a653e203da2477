//! What the executor holds: tasks, timers, lives, the true time.
//!
//! Not here: polling (`executor.rs`). No code of a task runs while the lock is held.
//! Invariants: a task whose `queued` is true is in `ready`, or held by its paused life; true time
//!   never goes back; a dead life has no tasks once it was reaped.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bessemer_model::NodeId;

use super::clock::{Clock, START_NS};
use crate::seed::Rng;
use crate::trace::{Trace, TraceTo};

/// One run of one node's process, from start to death. `Life::HARNESS` is the world around them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Life(pub(crate) u64);

impl Life {
    pub const HARNESS: Life = Life(0);
}

pub(crate) type TaskId = u64;
pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type DeathHook = Box<dyn FnOnce() + Send>;

/// How long blocking work takes on a healthy machine: a write and its fdatasync.
pub(crate) const BLOCKING_NS: (u64, u64) = (20_000, 2_000_000);

/// The future that `block_on` drives.
pub(crate) const MAIN_TASK: TaskId = 0;

pub(crate) struct Task {
    pub life: Life,
    /// Absent while it is being polled, and for the main task.
    pub future: Option<TaskFuture>,
    pub waker: Waker,
    pub queued: bool,
}

pub(crate) struct LifeState {
    pub node: NodeId,
    /// False from the first moment of death: its seams refuse, its tasks are never polled again.
    pub alive: bool,
    pub paused: bool,
    /// How long a blocking call takes, drawn between the two.
    pub blocking_ns: (u64, u64),
    /// Tasks that became ready while paused.
    pub held: Vec<TaskId>,
    /// Run, newest first, when the life is reaped and before its tasks are dropped.
    pub on_death: Vec<DeathHook>,
}

/// A task that panicked, and so ended its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panic {
    pub life: Life,
    pub node: NodeId,
    pub message: String,
}

pub(crate) struct State {
    pub now_ns: u64,
    pub rng: Rng,
    pub tasks: BTreeMap<TaskId, Task>,
    pub ready: Vec<TaskId>,
    pub timers: BTreeMap<(u64, u64), Waker>,
    pub lives: BTreeMap<Life, LifeState>,
    /// By machine, so that it outlives a life.
    pub clocks: BTreeMap<NodeId, Clock>,
    /// The life whose task is being polled; the harness between polls.
    pub current: Life,
    /// Lives that died and still have tasks.
    pub to_reap: Vec<Life>,
    pub panics: Vec<Panic>,
    pub trace: Trace,
    pub polls: u64,
    next_task: TaskId,
    next_timer: u64,
    next_life: u64,
}

impl State {
    fn new(seed: u64, trace: TraceTo) -> State {
        let harness = LifeState::new(NodeId(0));
        State {
            now_ns: START_NS,
            rng: Rng::new(seed),
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            lives: BTreeMap::from([(Life::HARNESS, harness)]),
            clocks: BTreeMap::from([(NodeId(0), Clock::exact())]),
            current: Life::HARNESS,
            to_reap: Vec::new(),
            panics: Vec::new(),
            trace: Trace::new(trace),
            polls: 0,
            next_task: MAIN_TASK + 1,
            next_timer: 0,
            next_life: 1,
        }
    }

    pub fn alive(&self, life: Life) -> bool {
        self.lives.get(&life).is_some_and(|state| state.alive)
    }

    pub fn clock(&self, life: Life) -> &Clock {
        let node = self.lives.get(&life).map_or(NodeId(0), |state| state.node);
        self.clocks.get(&node).expect("a clock is made with the first life of its node")
    }

    /// Makes `task` ready, or remembers it while its life is paused. Nothing for an ended task.
    pub fn enqueue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.queued {
            return;
        }
        task.queued = true;
        match self.lives.get_mut(&task.life) {
            Some(life) if life.paused => life.held.push(id),
            Some(_) => self.ready.push(id),
            None => {}
        }
    }

    /// Takes a ready task, any of them with equal chance.
    pub fn take_ready(&mut self) -> Option<TaskId> {
        if self.ready.is_empty() {
            return None;
        }
        let index = self.rng.below(self.ready.len() as u64) as usize;
        Some(self.ready.swap_remove(index))
    }

    pub fn next_task_id(&mut self) -> TaskId {
        self.next_task += 1;
        self.next_task - 1
    }

    pub fn next_timer_id(&mut self) -> u64 {
        self.next_timer += 1;
        self.next_timer
    }

    /// Begins a life of `node`. The clock is taken when the machine has none yet.
    pub fn begin_life(&mut self, node: NodeId, clock: Clock) -> Life {
        let life = Life(self.next_life);
        self.next_life += 1;
        self.lives.insert(life, LifeState::new(node));
        self.clocks.entry(node).or_insert(clock);
        life
    }

    /// Ends `life` at once: its seams refuse and its tasks run no more. Dropping them is left to
    /// the executor, since this may be called from deep inside one of them.
    pub fn die(&mut self, life: Life) {
        assert!(life != Life::HARNESS, "the harness does not die");
        if let Some(state) = self.lives.get_mut(&life)
            && state.alive
        {
            state.alive = false;
            self.to_reap.push(life);
        }
    }

    /// Holds the tasks of `life` back, or lets them go on.
    pub fn set_paused(&mut self, life: Life, paused: bool) {
        let Some(state) = self.lives.get_mut(&life) else { return };
        state.paused = paused;
        if paused {
            let tasks = &self.tasks;
            let is_its = |id: &TaskId| tasks.get(id).is_some_and(|task| task.life == life);
            let (held, ready) = self.ready.drain(..).partition(is_its);
            self.ready = ready;
            state.held.extend::<Vec<TaskId>>(held);
        } else {
            self.ready.append(&mut state.held);
        }
    }

    /// Takes all tasks of a dead life out, and what is to be told of its death.
    pub fn bury(&mut self, life: Life) -> (Vec<DeathHook>, Vec<Task>) {
        let hooks = match self.lives.get_mut(&life) {
            Some(state) => {
                state.held.clear();
                std::mem::take(&mut state.on_death)
            }
            None => Vec::new(),
        };
        let ids: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.life == life).map(|(&id, _)| id).collect();
        let tasks: Vec<Task> = ids.iter().filter_map(|id| self.tasks.remove(id)).collect();
        let remaining = &self.tasks;
        self.ready.retain(|id| remaining.contains_key(id));
        (hooks, tasks)
    }
}

impl LifeState {
    fn new(node: NodeId) -> LifeState {
        LifeState {
            node,
            alive: true,
            paused: false,
            blocking_ns: BLOCKING_NS,
            held: Vec::new(),
            on_death: Vec::new(),
        }
    }
}

/// The state behind its lock. All tasks run on one thread: the lock is never waited for.
pub(crate) struct Shared {
    state: Mutex<State>,
}

impl Shared {
    pub fn new(seed: u64, trace: TraceTo) -> Shared {
        Shared { state: Mutex::new(State::new(seed, trace)) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
