//! The network keeps `seam::net`'s contract, and its faults do what they say.

use std::io::ErrorKind;
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::net::{Channel, Net, NetReceiver, NetSender};
use bessemer_simulator::runtime::{Clock, Life, Sim, SimRuntime};
use bessemer_simulator::trace::TraceTo;
use bessemer_simulator::world::net::{Farewell, Link, NodeNet, SimNet, SimReceiver, SimSender};
use openraft_rt::AsyncRuntime;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

struct Pair {
    sim: Sim,
    net: SimNet,
    lives: [Life; 2],
    nets: [NodeNet; 2],
}

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Pair) -> F) {
    let mut runtime = SimRuntime::with_seed(seed, TraceTo::Hash);
    let sim = runtime.sim();
    runtime.block_on(async move {
        let net = SimNet::new(&sim, Link::default());
        let lives = [ONE, TWO].map(|node| sim.begin_life(node, Clock::exact()));
        let nets = [net.open(ONE, lives[0]), net.open(TWO, lives[1])];
        test(Pair { sim, net, lives, nets }).await;
    });
}

/// A stream from one to two: its four ends.
async fn stream(nets: &[NodeNet; 2]) -> ((SimSender, SimReceiver), (SimSender, SimReceiver)) {
    let ours = nets[0].connect(TWO, "", Channel::Append, 1_000).await.unwrap();
    let (channel, sender, receiver) = nets[1].accept().await.unwrap();
    assert_eq!(channel, Channel::Append);
    (ours, (sender, receiver))
}

#[test]
fn messages_arrive_whole_in_order_and_both_ways_then_the_end() {
    for seed in 0..10 {
        run(seed, |pair| async move {
            let ((mut sender, mut back), (mut answer, mut receiver)) = stream(&pair.nets).await;
            for number in 0..100u8 {
                sender.send(vec![number; 3]).await.unwrap();
            }
            answer.send(b"yes".to_vec()).await.unwrap();
            drop(sender);
            for number in 0..100u8 {
                assert_eq!(receiver.receive().await.unwrap(), Some(vec![number; 3]));
            }
            assert_eq!(receiver.receive().await.unwrap(), None);
            assert_eq!(receiver.receive().await.unwrap(), None);
            assert_eq!(back.receive().await.unwrap(), Some(b"yes".to_vec()));
        });
    }
}

#[test]
fn a_full_stream_makes_its_sender_wait() {
    run(1, |pair| async move {
        let ((mut sender, _back), (_answer, mut receiver)) = stream(&pair.nets).await;
        sender.send(vec![0; 200 << 10]).await.unwrap();
        let limit = SimRuntime::timeout(ms(500), sender.send(vec![1; 100 << 10])).await;
        assert!(limit.is_err(), "the second message fits not beside the first");
        assert_eq!(receiver.receive().await.unwrap().unwrap().len(), 200 << 10);
        sender.send(vec![2; 100 << 10]).await.unwrap();
        assert_eq!(receiver.receive().await.unwrap().unwrap()[0], 2);
    });
}

#[test]
fn a_cut_stalls_and_a_heal_delivers_or_resets() {
    let (mut delivered, mut broken) = (0, 0);
    for seed in 0..20 {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
        let told = seen.clone();
        run(seed, |pair| async move {
            let ((mut sender, _back), (_answer, mut receiver)) = stream(&pair.nets).await;
            pair.net.set_cut(ONE, TWO, true);
            sender.send(vec![7]).await.unwrap();
            let early = SimRuntime::timeout(ms(5_000), receiver.receive()).await;
            assert!(early.is_err(), "nothing comes through");
            pair.net.set_cut(ONE, TWO, false);
            *told.lock().unwrap() = Some(receiver.receive().await);
        });
        match seen.lock().unwrap().take().unwrap() {
            Ok(message) => {
                assert_eq!(message, Some(vec![7]));
                delivered += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                broken += 1;
            }
        }
    }
    assert!(delivered > 0 && broken > 0, "{delivered} {broken}");
}

#[test]
fn connecting_fails_to_the_dead_and_over_a_cut() {
    run(1, |pair| async move {
        pair.net.set_cut(TWO, ONE, true);
        let start = pair.sim.now();
        let error = pair.nets[0].connect(TWO, "", Channel::Control, 300).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(pair.sim.now() - start >= ms(300));
        pair.net.heal_all();
        pair.sim.kill(pair.lives[1]);
        pair.net.close(TWO, Farewell::Reset);
        let error = pair.nets[0].connect(TWO, "", Channel::Control, 300).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_killed_process_resets_and_a_machine_without_power_is_silent() {
    for farewell in [Farewell::Reset, Farewell::Silence] {
        run(3, |pair| async move {
            let ((mut sender, mut back), (answer, receiver)) = stream(&pair.nets).await;
            pair.sim.kill(pair.lives[1]);
            pair.net.close(TWO, farewell);
            drop((answer, receiver));
            let heard = SimRuntime::timeout(ms(10_000), back.receive()).await;
            assert_eq!(heard.is_ok(), farewell == Farewell::Reset);
            if farewell == Farewell::Silence {
                sender.send(vec![1]).await.unwrap();
                pair.net.open(TWO, pair.sim.begin_life(TWO, Clock::exact()));
            }
            assert_eq!(back.receive().await.err().unwrap().kind(), ErrorKind::ConnectionReset);
            assert!(sender.send(vec![1]).await.is_err());
        });
    }
}

#[test]
fn a_bad_link_breaks_streams_after_a_prefix() {
    let mut resets = 0;
    for seed in 0..20 {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(0));
        let told = seen.clone();
        run(seed, |pair| async move {
            let bad = Link { reset_per_million: 50_000, ..Link::default() };
            pair.net.set_link(ONE, TWO, bad);
            let ((mut sender, _back), (_answer, mut receiver)) = stream(&pair.nets).await;
            pair.sim.spawn(pair.lives[0], async move {
                for number in 0..50u8 {
                    if sender.send(vec![number]).await.is_err() {
                        return;
                    }
                }
            });
            let mut next = 0;
            while let Ok(Some(message)) = receiver.receive().await {
                assert_eq!(message, [next]);
                next += 1;
            }
            assert!(receiver.receive().await.is_err() || next == 50);
            *told.lock().unwrap() = pair.net.counters().resets;
        });
        resets += *seen.lock().unwrap();
    }
    assert!(resets > 5, "{resets}");
}

#[test]
fn a_receive_that_was_cancelled_loses_nothing() {
    run(5, |pair| async move {
        let ((mut sender, _back), (_answer, mut receiver)) = stream(&pair.nets).await;
        pair.net.set_link(ONE, TWO, Link { delay_us: (50_000, 50_000), ..Link::default() });
        sender.send(vec![1]).await.unwrap();
        for _ in 0..5 {
            assert!(SimRuntime::timeout(ms(5), receiver.receive()).await.is_err());
        }
        assert_eq!(receiver.receive().await.unwrap(), Some(vec![1]));
    });
}
