//! The runtime keeps openraft's contract, and the promises a simulation rests on.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::runtime::Runtime;
use bessemer_simulator::runtime::{Clock, ClockChange, JoinError, Life, Sim, SimRuntime};
use bessemer_simulator::trace::TraceTo;
use openraft_rt::testing::Suite;
use openraft_rt::{AsyncRuntime, Instant};

fn run<T>(seed: u64, main: impl Future<Output = T>) -> T {
    SimRuntime::with_seed(seed, TraceTo::Hash).block_on(main)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn openraft_finds_its_contract_kept() {
    Suite::<SimRuntime>::test_all();
}

#[test]
fn openraft_finds_its_contract_kept_under_other_seeds() {
    for seed in 1..20 {
        Suite::test_all_on(&mut SimRuntime::with_seed(seed, TraceTo::Hash));
    }
}

/// The order in which eight tasks of equal right run.
fn order_of_tasks(seed: u64) -> Vec<u32> {
    let order = Arc::new(Mutex::new(Vec::new()));
    run(seed, async {
        for number in 0..8 {
            let order = order.clone();
            Sim::current().spawn(Life::HARNESS, async move { order.lock().unwrap().push(number) });
        }
        SimRuntime::sleep(ms(1)).await;
    });
    let order = order.lock().unwrap().clone();
    assert_eq!(order.len(), 8);
    order
}

#[test]
fn the_order_of_tasks_comes_from_the_seed_alone() {
    assert_eq!(order_of_tasks(3), order_of_tasks(3));
    assert!((0..10).any(|seed| order_of_tasks(seed) != order_of_tasks(3)));
}

#[test]
fn an_hour_passes_at_once() {
    let before = std::time::Instant::now();
    run(0, async {
        let start = <SimRuntime as AsyncRuntime>::Instant::now();
        SimRuntime::sleep(Duration::from_secs(3600)).await;
        assert!(start.elapsed() >= Duration::from_secs(3600));
    });
    assert!(before.elapsed() < Duration::from_secs(5));
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_killed_life_is_dropped_and_never_runs_again() {
    run(1, async {
        let sim = Sim::current();
        let life = sim.begin_life(NodeId(1), Clock::exact());
        let (dropped, ticks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (guard, counter) = (SetOnDrop(dropped.clone()), ticks.clone());
        sim.spawn(life, async move {
            let _guard = guard;
            loop {
                // A task spawned by static functions belongs to the life of its parent.
                let counter = counter.clone();
                SimRuntime::spawn(async move {
                    SimRuntime::sleep(ms(1)).await;
                    counter.fetch_add(1, Ordering::Relaxed);
                });
                SimRuntime::sleep(ms(1)).await;
            }
        });
        let (seen_alive, hook_sim) = (dropped.clone(), sim.clone());
        let told = Arc::new(AtomicBool::new(false));
        let hook_told = told.clone();
        sim.on_death(life, move || {
            assert!(!hook_sim.is_alive(life), "seams are dead before the hook");
            assert!(!seen_alive.load(Ordering::Relaxed), "tasks are dropped after the hook");
            hook_told.store(true, Ordering::Relaxed);
        });
        sim.sleep(ms(100)).await;
        assert!(ticks.load(Ordering::Relaxed) > 50);
        sim.kill(life);
        sim.sleep(ms(1)).await;
        assert!(dropped.load(Ordering::Relaxed) && told.load(Ordering::Relaxed));
        let before = ticks.load(Ordering::Relaxed);
        sim.spawn(life, async { panic!("a dead life runs nothing") });
        sim.sleep(ms(100)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), before);
        assert!(sim.panics().is_empty());
    });
}

#[test]
fn a_panic_ends_its_life_and_is_recorded() {
    run(1, async {
        let sim = Sim::current();
        let life = sim.begin_life(NodeId(4), Clock::exact());
        let other = sim.begin_life(NodeId(5), Clock::exact());
        sim.spawn(life, async {
            SimRuntime::sleep(ms(3)).await;
            panic!("planted");
        });
        sim.sleep(ms(10)).await;
        assert!(!sim.is_alive(life) && sim.is_alive(other));
        let panics = sim.panics();
        assert_eq!((panics[0].node, panics[0].message.as_str()), (NodeId(4), "planted"));
    });
}

#[test]
fn a_join_handle_tells_of_a_panic() {
    run(1, async {
        let joined = SimRuntime::spawn(async { panic!("planted") }).await;
        assert_eq!(joined, Err::<(), _>(JoinError::Panic("planted".into())));
    });
}

#[test]
fn a_paused_life_stands_still_while_its_clock_goes_on() {
    run(1, async {
        let sim = Sim::current();
        let life = sim.begin_life(NodeId(1), Clock::exact());
        let ticks = Arc::new(AtomicU32::new(0));
        let counter = ticks.clone();
        sim.spawn(life, async move {
            loop {
                SimRuntime::sleep(ms(1)).await;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        sim.sleep(ms(10)).await;
        sim.set_paused(life, true);
        let before = (ticks.load(Ordering::Relaxed), sim.runtime(life).elapsed());
        sim.sleep(ms(10)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), before.0);
        assert!(sim.runtime(life).elapsed() >= before.1 + ms(10));
        sim.set_paused(life, false);
        sim.sleep(ms(10)).await;
        assert!(ticks.load(Ordering::Relaxed) > before.0 + 5);
    });
}

#[test]
fn a_task_that_wakes_itself_and_ends_is_gone() {
    run(1, async {
        for _ in 0..50 {
            SimRuntime::spawn(std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                std::task::Poll::Ready(())
            }));
        }
        SimRuntime::sleep(ms(1)).await;
    });
}

#[test]
fn clocks_of_machines_run_apart() {
    run(1, async {
        let sim = Sim::current();
        let fast = sim.runtime(sim.begin_life(NodeId(1), Clock::new(0, 100_000, 0)));
        let slow = sim.runtime(sim.begin_life(NodeId(2), Clock::new(7_000, -100_000, -5_000)));
        let (fast_start, slow_start) = (fast.elapsed(), slow.elapsed());
        assert!((slow_start - fast_start).abs_diff(ms(7_000)) < ms(1));
        assert_eq!(fast.wall_ms() - slow.wall_ms(), 5_000);
        sim.sleep(ms(1_000)).await;
        assert_eq!((fast.elapsed() - fast_start).as_millis(), 1_100);
        assert_eq!((slow.elapsed() - slow_start).as_millis(), 900);
        let start = sim.now();
        fast.sleep(ms(110)).await;
        assert_eq!((sim.now() - start).as_millis(), 100);
        sim.change_clock(NodeId(2), ClockChange::JumpWall { by_ms: 60_000 });
        assert!(slow.wall_ms() > fast.wall_ms() + 50_000);
        sim.change_clock(NodeId(2), ClockChange::SetRight);
        sim.change_clock(NodeId(1), ClockChange::SetRight);
        assert_eq!(slow.wall_ms(), fast.wall_ms());
    });
}

#[test]
fn blocking_work_is_done_later_even_when_nobody_waits() {
    run(1, async {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        drop(SimRuntime::spawn_blocking(move || flag.store(true, Ordering::Relaxed)));
        assert!(!done.load(Ordering::Relaxed));
        SimRuntime::sleep(ms(10)).await;
        assert!(done.load(Ordering::Relaxed));
        assert_eq!(SimRuntime::spawn_blocking(|| 5).await.unwrap(), 5);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_deadlock_is_found() {
    run(0, std::future::pending::<()>());
}
