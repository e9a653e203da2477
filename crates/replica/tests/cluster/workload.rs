//! Callers that post numbered messages, and the check of what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bessemer_model::Failure;
use bessemer_replica::Replica;
use bessemer_seam::consensus::Consensus;
use tokio::task::JoinHandle;

use crate::nodes::{Cluster, drain, eventually, post, request};
use crate::world::TestWorld;

/// What one caller knows of its messages, each named by its number.
#[derive(Default, Debug)]
pub struct Known {
    pub done: Vec<u64>,
    pub unknown: Vec<u64>,
    pub not_done: u64,
}

/// A caller that posts 1, 2, 3, … into a queue of its own, one after the other.
pub struct Caller {
    pub queue: String,
    task: JoinHandle<Known>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
}

/// Callers under way.
pub struct Callers {
    shared: Arc<Shared>,
    callers: Vec<Caller>,
}

async fn call(replica: Replica<TestWorld>, queue: String, shared: Arc<Shared>) -> Known {
    let mut known = Known::default();
    let mut number = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        number += 1;
        let command = post(&queue, number.to_string());
        match replica.propose(request(command), Duration::from_secs(3)).await {
            Ok(_) => {
                known.done.push(number);
                shared.done.fetch_add(1, Ordering::SeqCst);
            }
            Err(Failure::Unknown) => known.unknown.push(number),
            Err(Failure::NotDone(_)) => {
                known.not_done += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(Failure::Rejected(rejection)) => panic!("{rejection:?}"),
        }
    }
    known
}

impl Callers {
    /// Starts `each` callers at every one of `nodes`.
    pub fn start(cluster: &Cluster, nodes: &[u64], each: usize) -> Callers {
        let shared = Arc::new(Shared::default());
        let mut callers = Vec::new();
        for node in nodes {
            for number in 0..each {
                let queue = format!("q-{node}-{number}");
                let replica = cluster.replica(*node).clone();
                let task = tokio::spawn(call(replica, queue.clone(), shared.clone()));
                callers.push(Caller { queue, task });
            }
        }
        Callers { shared, callers }
    }

    /// Waits until `posts` more posts were answered as done.
    pub async fn more(&self, posts: u64) {
        let target = self.shared.done.load(Ordering::SeqCst) + posts;
        let reached = || (self.shared.done.load(Ordering::SeqCst) >= target).then_some(());
        eventually("more posts to be done", reached).await;
    }

    /// Ends the callers; what each knows, by queue.
    pub async fn stop(self) -> Vec<(String, Known)> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for caller in self.callers {
            all.push((caller.queue, caller.task.await.expect("the caller ends")));
        }
        all
    }
}

/// Empties every queue through `replica` and checks: what was answered as done is there once and
/// in order; what is unknown is there at most once; nothing else is there.
pub async fn check(replica: &Replica<TestWorld>, all: Vec<(String, Known)>) -> u64 {
    let mut done = 0;
    for (queue, known) in all {
        let bodies = drain(replica, &queue).await;
        let got: Vec<u64> = bodies.iter().map(|body| body.parse().expect("a number")).collect();
        assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{queue}: order or doubles: {got:?}");
        for number in &known.done {
            assert!(got.contains(number), "{queue}: {number} was done and is lost");
        }
        for number in &got {
            let expected = known.done.contains(number) || known.unknown.contains(number);
            assert!(expected, "{queue}: {number} was not done and is there");
        }
        done += known.done.len() as u64;
    }
    done
}
