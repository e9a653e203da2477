//! Large messages: an answer holds a bounded number of bytes, and nothing is left lying.

use std::time::Duration;

use bessemer_harness::World;
use bessemer_model::{Millis, QueueName};
use bessemer_service::{Caller, Freshness, Reserve};

fn queue() -> QueueName {
    QueueName::new("q")
}

#[tokio::test]
async fn one_answer_holds_a_bounded_number_of_bytes() {
    let world = World::start();
    let large = "x".repeat(400_000);
    world.node.post(&world.project, "q", &[large.as_str(); 5]);
    let (service, caller, project) = (&world.service, &Caller::Admin, &world.project);
    let peeked = service.peek(caller, project, &queue(), 100, Freshness::Current).await;
    assert_eq!(peeked.expect("there").len(), 2);
    let ask = Reserve { count: 100, timeout: None, delete: true, wait: Millis::ZERO };
    for expected in [2, 2, 1, 0] {
        let got = service.reserve(caller, project, &queue(), ask, None).await.expect("reserved");
        assert_eq!(got.messages.len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_called_for_what_did_not_fit() {
    let world = World::start();
    world.node.post(&world.project, "q", &[]);
    let ask = Reserve { count: 100, timeout: None, delete: true, wait: Millis::from_secs(30) };
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (service, project) = (world.service.clone(), world.project.clone());
            tokio::spawn(async move {
                let got = service.reserve(&Caller::Admin, &project, &queue(), ask, None).await;
                got.expect("reserved").messages.len()
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = tokio::time::Instant::now();
    let large = "x".repeat(400_000);
    world.node.post(&world.project, "q", &[large.as_str(); 5]);
    let mut got = Vec::new();
    for waiter in waiters {
        got.push(waiter.await.unwrap());
    }
    assert_eq!(got, [2, 2, 1]);
    assert!(began.elapsed() < Duration::from_millis(100), "by the hint, not by the patrol");
}
