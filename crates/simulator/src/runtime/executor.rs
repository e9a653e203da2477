//! The loop: pick a ready task by chance, poll it; when none is ready, jump to the next timer.
//!
//! Invariants: one thread; a task of a dead life is never polled; timers of one instant fire in
//!   the order in which their sleeps were made; a panic ends the life of the task that panicked.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use super::clock::START_NS;
use super::state::{Life, MAIN_TASK, Panic, Shared, Task, TaskFuture, TaskId};

/// Virtual time that one poll takes: code is fast, not free. It lets timers fire between two
/// tasks, and time pass for a task that spins.
const POLL_NS: u64 = 500;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The simulation that runs on this thread. Panics outside `block_on`.
#[track_caller]
pub(crate) fn current() -> Arc<Shared> {
    try_current().expect("this must be called inside SimRuntime::block_on")
}

pub(crate) fn try_current() -> Option<Arc<Shared>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Restores the simulation that was current before, also when the run unwinds.
struct Entered {
    before: Option<Arc<Shared>>,
}

impl Entered {
    fn enter(shared: &Arc<Shared>) -> Entered {
        Entered { before: CURRENT.replace(Some(shared.clone())) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

struct TaskWaker {
    shared: Weak<Shared>,
    task: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lock().enqueue(self.task);
        }
    }
}

fn waker(shared: &Arc<Shared>, task: TaskId) -> Waker {
    Waker::from(Arc::new(TaskWaker { shared: Arc::downgrade(shared), task }))
}

/// Adds a task of `life`; drops it at once when that life is over.
pub(crate) fn spawn(shared: &Arc<Shared>, life: Life, future: TaskFuture) {
    let mut state = shared.lock();
    if !state.alive(life) {
        // The future may own handles whose drop takes the lock.
        drop(state);
        drop(future);
        return;
    }
    let id = state.next_task_id();
    let waker = waker(shared, id);
    state.tasks.insert(id, Task { life, future: Some(future), waker, queued: false });
    state.enqueue(id);
}

/// Runs `main` to its end, with every task it spawned. Tasks left over stay for the next call.
pub(crate) fn block_on<F: Future>(shared: &Arc<Shared>, main: F) -> F::Output {
    let _entered = Entered::enter(shared);
    let mut main = pin!(main);
    let main_waker = waker(shared, MAIN_TASK);
    {
        let task =
            Task { life: Life::HARNESS, future: None, waker: main_waker.clone(), queued: false };
        let mut state = shared.lock();
        state.tasks.insert(MAIN_TASK, task);
        state.enqueue(MAIN_TASK);
    }
    loop {
        reap(shared);
        fire_timers(shared);
        match take_ready(shared) {
            Some(MAIN_TASK) => {
                let polled = main.as_mut().poll(&mut Context::from_waker(&main_waker));
                if let Poll::Ready(output) = polled {
                    shared.lock().tasks.remove(&MAIN_TASK);
                    return output;
                }
            }
            Some(id) => poll_task(shared, id),
            None => jump(shared),
        }
    }
}

/// Picks the next task and makes its life the current one.
fn take_ready(shared: &Shared) -> Option<TaskId> {
    let mut state = shared.lock();
    state.current = Life::HARNESS;
    loop {
        let id = state.take_ready()?;
        // A task that woke itself in its last poll is ready and gone.
        let Some(task) = state.tasks.get_mut(&id) else { continue };
        task.queued = false;
        state.current = task.life;
        state.now_ns += POLL_NS;
        state.polls += 1;
        return Some(id);
    }
}

fn poll_task(shared: &Arc<Shared>, id: TaskId) {
    let taken = shared.lock().tasks.get_mut(&id).and_then(|task| {
        let future = task.future.take()?;
        Some((task.life, future, task.waker.clone()))
    });
    let Some((life, mut future, waker)) = taken else { return };
    let polled =
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
    let mut state = shared.lock();
    match polled {
        Ok(Poll::Pending) => {
            if let Some(task) = state.tasks.get_mut(&id) {
                task.future = Some(future);
                return;
            }
            // Its life ended under it.
        }
        Ok(Poll::Ready(())) => {
            state.tasks.remove(&id);
        }
        Err(payload) => {
            state.tasks.remove(&id);
            record_panic(&mut state, life, &*payload);
        }
    }
    // Dropped outside the lock, since what it owns may need it, and still in its own life.
    drop(state);
    drop(future);
}

fn record_panic(state: &mut super::state::State, life: Life, payload: &(dyn Any + Send)) {
    let node = state.lives.get(&life).map_or_else(Default::default, |life| life.node);
    let message = panic_message(payload);
    let now_ns = state.now_ns - START_NS;
    state.trace.note(now_ns, format_args!("node {node} panicked: {message}"));
    state.panics.push(Panic { life, node, message });
    if life != Life::HARNESS {
        state.die(life);
    }
}

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_string(),
        (_, Some(text)) => text.clone(),
        (None, None) => "a panic without words".to_string(),
    }
}

/// Buries every life that died since the last call: hooks first, then its tasks.
pub(crate) fn reap(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        let Some(life) = state.to_reap.pop() else { return };
        let (hooks, tasks) = state.bury(life);
        let before = std::mem::replace(&mut state.current, life);
        drop(state);
        for hook in hooks.into_iter().rev() {
            hook();
        }
        drop(tasks);
        shared.lock().current = before;
    }
}

/// Wakes every sleep that is due.
fn fire_timers(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        let now_ns = state.now_ns;
        let due = match state.timers.first_entry() {
            Some(first) if first.key().0 <= now_ns => first.remove(),
            _ => return,
        };
        drop(state);
        due.wake();
    }
}

/// Moves true time to the next timer.
fn jump(shared: &Shared) {
    let mut state = shared.lock();
    match state.timers.keys().next() {
        Some(&(due_ns, _)) => state.now_ns = state.now_ns.max(due_ns),
        None => panic!(
            "deadlock: nothing is ready and no timer is set, {} tasks wait",
            state.tasks.len()
        ),
    }
}
