//! Long polls: who is woken, when, at what cost, and what happens to those who leave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bessemer_harness::World;
use bessemer_model::{
    Command, DeadLetterPatch, Failure, Millis, NewMessage, NotDone, OrderingKey, QueueName,
    QueuePatch, Quota, Rejection, Request,
};
use bessemer_service::{Caller, Delivery, Freshness, Reserve, ServiceError};
use tokio::task::JoinHandle;

const ASK: Reserve =
    Reserve { count: 1, timeout: None, delete: false, wait: Millis::from_secs(30) };

fn queue() -> QueueName {
    QueueName::new("q")
}

/// Starts a long poll as a task of its own.
fn poll(world: &World, ask: Reserve) -> JoinHandle<Result<Delivery, ServiceError>> {
    poll_keyed(world, ask, None)
}

fn poll_keyed(
    world: &World,
    ask: Reserve,
    key: Option<&'static str>,
) -> JoinHandle<Result<Delivery, ServiceError>> {
    let (service, project) = (world.service.clone(), world.project.clone());
    tokio::spawn(async move { service.reserve(&Caller::Admin, &project, &queue(), ask, key).await })
}

fn bodies(delivery: Delivery) -> Vec<String> {
    if let Some(undo) = delivery.undo {
        undo.delivered();
    }
    let body = |body: Option<Vec<u8>>| String::from_utf8(body.expect("a body")).expect("text");
    delivery.messages.into_iter().map(|message| body(message.body)).collect()
}

/// Lets every task run until it can only wait for time. Moves the paused clock by a millisecond.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A world with an empty queue `q`.
fn empty_queue() -> World {
    with_quota(Quota::default())
}

fn with_quota(quota: Quota) -> World {
    let world = World::with(quota);
    world.node.post(&world.project, "q", &[]);
    world
}

async fn reserved_now(world: &World) -> u64 {
    let (caller, name) = (Caller::Admin, queue());
    let info = world.service.queue(&caller, &world.project, &name, Freshness::Current).await;
    info.expect("the queue is there").reserved
}

#[tokio::test(start_paused = true)]
async fn a_post_wakes_a_waiter_at_once() {
    let world = empty_queue();
    let waiter = poll(&world, ASK);
    settle().await;
    assert_eq!(world.service.waiting(), 1);
    let before = tokio::time::Instant::now();
    world.node.post(&world.project, "q", &["a"]);
    assert_eq!(bodies(waiter.await.unwrap().unwrap()), ["a"]);
    assert!(before.elapsed() < Duration::from_millis(100), "woken by the hint, not by time");
    assert_eq!(world.service.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_longest_is_served_first() {
    let world = empty_queue();
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(poll(&world, ASK));
        settle().await;
    }
    for (waiter, body) in waiters.into_iter().zip(["a", "b", "c"]) {
        world.node.post(&world.project, "q", &[body]);
        settle().await;
        assert!(waiter.is_finished(), "{body} is for the first in line");
        assert_eq!(bodies(waiter.await.unwrap().unwrap()), [body]);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_and_one_post_cost_a_few_reserves() {
    let world = empty_queue();
    let waiters: Vec<_> = (0..10_000).map(|_| poll(&world, ASK)).collect();
    settle().await;
    assert_eq!(world.service.waiting(), 10_000);
    assert!(world.node.reserves() <= 64, "those behind others do not try in vain");
    let before = world.node.reserves();
    world.node.post(&world.project, "q", &["a"]);
    settle().await;
    let served = waiters.iter().filter(|waiter| waiter.is_finished()).count();
    assert_eq!(served, 1);
    assert!(world.node.reserves() - before <= 2, "{}", world.node.reserves() - before);
}

#[tokio::test(start_paused = true)]
async fn a_batch_reaches_every_waiter_at_one_reserve_each() {
    let world = empty_queue();
    let waiters: Vec<_> = (0..1000).map(|_| poll(&world, ASK)).collect();
    settle().await;
    let before = world.node.reserves();
    world.node.post(&world.project, "q", &["x"; 1000]);
    settle().await;
    assert!(waiters.iter().all(JoinHandle::is_finished));
    let cost = world.node.reserves() - before;
    assert!(cost <= 1100, "{cost} reserves for 1000 messages");
    for waiter in waiters {
        assert_eq!(bodies(waiter.await.unwrap().unwrap()), ["x"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_wait_is_an_empty_answer() {
    let world = empty_queue();
    let before = tokio::time::Instant::now();
    let ask = Reserve { wait: Millis::from_secs(7), ..ASK };
    let delivery = poll(&world, ask).await.unwrap().unwrap();
    assert!(delivery.messages.is_empty());
    assert_eq!(before.elapsed().as_secs(), 7);
    assert_eq!(world.service.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reserve_in_flight_at_the_end_is_awaited() {
    let world = empty_queue();
    let ask = Reserve { wait: Millis::from_secs(2), ..ASK };
    let waiter = poll(&world, ask);
    settle().await;
    world.node.hold(true);
    world.node.post(&world.project, "q", &["a"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiter.is_finished(), "the outcome is on its way");
    world.node.hold(false);
    assert_eq!(bodies(waiter.await.unwrap().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn unknown_is_an_error_and_never_an_empty_answer() {
    let world = empty_queue();
    let waiter = poll(&world, ASK);
    settle().await;
    world.node.fail_next(Failure::Unknown);
    world.node.post(&world.project, "q", &["a"]);
    assert!(matches!(waiter.await.unwrap(), Err(ServiceError::Unknown)));
}

#[tokio::test(start_paused = true)]
async fn one_failure_is_told_to_one_waiter_and_the_next_is_served_soon() {
    let world = empty_queue();
    let first = poll(&world, ASK);
    settle().await;
    let second = poll(&world, ASK);
    settle().await;
    world.node.fail_next(Failure::NotDone(NotDone::NoLeader));
    world.node.post(&world.project, "q", &["a"]);
    assert!(matches!(first.await.unwrap(), Err(ServiceError::NotDone(NotDone::NoLeader))));
    let before = tokio::time::Instant::now();
    assert_eq!(bodies(second.await.unwrap().unwrap()), ["a"]);
    assert!(before.elapsed() <= Duration::from_millis(1100), "the patrol found the message");
}

#[tokio::test(start_paused = true)]
async fn all_hints_lost_still_serves_within_a_period() {
    let world = empty_queue();
    let waiter = poll(&world, ASK);
    settle().await;
    world.node.deaf.store(true, Ordering::SeqCst);
    world.node.post(&world.project, "q", &["a"]);
    let before = tokio::time::Instant::now();
    assert_eq!(bodies(waiter.await.unwrap().unwrap()), ["a"]);
    assert!(before.elapsed() <= Duration::from_millis(1100));
}

#[tokio::test(start_paused = true)]
async fn lagging_looks_at_every_line_and_reserves_only_where_something_is() {
    let world = empty_queue();
    let mut waiters = Vec::new();
    for number in 0..600 {
        let name = format!("q{number}");
        world.node.post(&world.project, &name, &[]);
        let (service, project) = (world.service.clone(), world.project.clone());
        waiters.push(tokio::spawn(async move {
            service.reserve(&Caller::Admin, &project, &QueueName::new(name), ASK, None).await
        }));
    }
    settle().await;
    let before = world.node.reserves();
    world.node.deaf.store(true, Ordering::SeqCst);
    world.node.post(&world.project, "q7", &["a"]);
    world.node.post(&world.project, "q599", &["b"]);
    world.node.deaf.store(false, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    world.node.lag();
    assert_eq!(bodies(waiters.remove(599).await.unwrap().unwrap()), ["b"]);
    assert_eq!(bodies(waiters.remove(7).await.unwrap().unwrap()), ["a"]);
    assert!(began.elapsed() < Duration::from_millis(900), "at once, not by the period");
    assert_eq!(world.node.reserves() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_waiting_leaves_the_line() {
    let world = empty_queue();
    let first = poll(&world, ASK);
    settle().await;
    let second = poll(&world, ASK);
    settle().await;
    first.abort();
    settle().await;
    assert_eq!(world.service.waiting(), 1);
    world.node.post(&world.project, "q", &["a"]);
    assert_eq!(bodies(second.await.unwrap().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_with_a_reserve_in_flight_leaves_no_message_behind() {
    let world = empty_queue();
    let waiter = poll(&world, ASK);
    settle().await;
    world.node.hold(true);
    world.node.post(&world.project, "q", &["a"]);
    settle().await;
    assert_eq!(reserved_now(&world).await, 1);
    waiter.abort();
    settle().await;
    world.node.hold(false);
    settle().await;
    assert_eq!(reserved_now(&world).await, 0, "given back");
    let again = poll(&world, Reserve { wait: Millis::ZERO, ..ASK });
    assert_eq!(bodies(again.await.unwrap().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_undelivered_answer_is_undone_and_the_next_waiter_gets_it() {
    let world = empty_queue();
    let ask = Reserve { count: 3, ..ASK };
    world.node.post(&world.project, "q", &["a", "b", "c"]);
    let delivery = poll(&world, ask).await.unwrap().unwrap();
    assert_eq!(delivery.messages.len(), 3);
    let waiter = poll(&world, ask);
    settle().await;
    assert!(!waiter.is_finished());
    drop(delivery);
    assert_eq!(bodies(waiter.await.unwrap().unwrap()), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_undone_answer_counts_no_reservation() {
    let world = empty_queue();
    let set = DeadLetterPatch::Set { queue: Some(QueueName::new("d")), max_reservations: Some(1) };
    let patch = QueuePatch { dead_letter: Some(set), ..QueuePatch::default() };
    let put = world.service.put_queue(&Caller::Admin, &world.project, queue(), patch, None);
    put.await.expect("put");
    world.node.post(&world.project, "q", &["a"]);
    for _ in 0..3 {
        let delivery = poll(&world, ASK).await.unwrap().unwrap();
        assert_eq!(delivery.messages[0].reserved_count, 1, "no delivery so far");
        drop(delivery);
        settle().await;
    }
    assert_eq!(bodies(poll(&world, ASK).await.unwrap().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivered_answer_stays_delivered() {
    let world = empty_queue();
    world.node.post(&world.project, "q", &["a"]);
    let delivery = poll(&world, ASK).await.unwrap().unwrap();
    assert_eq!(bodies(delivery), ["a"]);
    settle().await;
    assert_eq!(reserved_now(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn undoing_what_is_partly_gone_gives_the_rest_back() {
    let world = empty_queue();
    world.node.post(&world.project, "q", &["a", "b"]);
    let delivery = poll(&world, Reserve { count: 2, ..ASK }).await.unwrap().unwrap();
    let gone = bessemer_model::Handle {
        message: delivery.messages[0].id,
        reservation: Some(delivery.messages[0].reservation),
    };
    let acked = world.service.ack(&Caller::Admin, &world.project, queue(), gone, None);
    acked.await.expect("acknowledged");
    drop(delivery);
    settle().await;
    assert_eq!(reserved_now(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_keyed_wait_has_one_outcome_for_all_its_retries() {
    let world = empty_queue();
    let waiter = poll_keyed(&world, ASK, Some("k"));
    settle().await;
    assert_eq!(world.node.reserves(), 0, "an empty outcome would be kept as the key's");
    world.node.post(&world.project, "q", &["a"]);
    let first = waiter.await.unwrap().unwrap();
    assert!(first.undo.is_none(), "a retry fetches it again");
    let before = tokio::time::Instant::now();
    let again = poll_keyed(&world, ASK, Some("k")).await.unwrap().unwrap();
    assert_eq!(again.messages, first.messages);
    assert!(before.elapsed() < Duration::from_millis(100), "the outcome is known already");
}

#[tokio::test(start_paused = true)]
async fn a_keyed_wait_in_vain_stays_in_vain() {
    let world = empty_queue();
    let ask = Reserve { wait: Millis::from_secs(2), ..ASK };
    let first = poll_keyed(&world, ask, Some("k")).await.unwrap().unwrap();
    assert!(first.messages.is_empty());
    world.node.post(&world.project, "q", &["a"]);
    let again = poll_keyed(&world, ask, Some("k")).await.unwrap().unwrap();
    assert!(again.messages.is_empty(), "same key, same outcome");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_queue_ends_its_waiters() {
    let world = empty_queue();
    let waiters = [poll(&world, ASK), poll(&world, ASK)];
    settle().await;
    let deleted = world.service.delete_queue(&Caller::Admin, &world.project, queue(), None);
    deleted.await.expect("deleted");
    for waiter in waiters {
        let ended = waiter.await.unwrap();
        let missing =
            matches!(&ended, Err(ServiceError::Rejected(r)) if r.code() == "QueueMissing");
        assert!(missing, "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_hint_of_a_deletion_ends_nobody_when_the_queue_is_there_again() {
    let world = empty_queue();
    let first = poll(&world, ASK);
    settle().await;
    let second = poll(&world, ASK);
    settle().await;
    let command = Command::DeleteQueue { queue: queue() };
    let (project, retry) = (world.project.clone(), None);
    world.node.apply(Request { project, retry, command }).expect("deleted");
    world.node.post(&world.project, "q", &[]);
    settle().await;
    assert_eq!(world.service.waiting(), 2, "both wait on, in their order");
    for (waiter, body) in [(first, "a"), (second, "b")] {
        world.node.post(&world.project, "q", &[body]);
        settle().await;
        assert!(waiter.is_finished());
        assert_eq!(bodies(waiter.await.unwrap().unwrap()), [body]);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_parked_behind_their_key_call_nobody() {
    let world = empty_queue();
    let message = |body: &str| NewMessage {
        body: body.into(),
        delay: Millis::ZERO,
        expiration: None,
        ordering_key: Some(OrderingKey::new("k")),
    };
    let waiters: Vec<_> = (0..10).map(|_| poll(&world, ASK)).collect();
    settle().await;
    let before = world.node.reserves();
    let messages = ["a", "b", "c", "d"].map(message).to_vec();
    let command = Command::PostMessages { queue: queue(), messages };
    let (project, retry) = (world.project.clone(), None);
    world.node.apply(Request { project, retry, command }).expect("posted");
    settle().await;
    assert_eq!(world.node.reserves() - before, 1, "the first of the key, and no more");
    assert_eq!(waiters.iter().filter(|waiter| waiter.is_finished()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_waiters_as_not_done() {
    let world = empty_queue();
    let waiter = poll(&world, ASK);
    settle().await;
    world.service.drain();
    let ended = waiter.await.unwrap();
    assert!(matches!(ended, Err(ServiceError::NotDone(NotDone::ShuttingDown))), "{ended:?}");
    let refused = poll(&world, ASK).await.unwrap();
    assert!(matches!(refused, Err(ServiceError::NotDone(NotDone::ShuttingDown))));
}

#[tokio::test(start_paused = true)]
async fn a_project_has_its_share_of_waiters() {
    let world = with_quota(Quota { waiters_max: 2, ..Quota::default() });
    let _first = poll(&world, ASK);
    let _second = poll(&world, ASK);
    settle().await;
    let third = poll(&world, ASK).await.unwrap();
    assert!(matches!(third, Err(ServiceError::TooManyWaiters { limit: 2 })), "{third:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_range_is_refused_before_it_waits() {
    let world = empty_queue();
    let _first = poll(&world, ASK);
    settle().await;
    let too_long = poll(&world, Reserve { wait: Millis(30_001), ..ASK }).await.unwrap();
    assert!(matches!(too_long, Err(ServiceError::WaitOutOfRange { .. })));
    for ask in [
        Reserve { count: 0, ..ASK },
        Reserve { count: 101, ..ASK },
        Reserve { timeout: Some(Millis(999)), ..ASK },
        Reserve { timeout: Some(Millis(86_400_001)), ..ASK },
    ] {
        let waiting = poll(&world, ask).await.unwrap().expect_err("out of range").to_string();
        let at_once = Reserve { wait: Millis::ZERO, ..ask };
        let by_the_log = poll(&world, at_once).await.unwrap().expect_err("out of range");
        assert_eq!(waiting, by_the_log.to_string(), "the same words");
    }
    let none = QueueName::new("none");
    let missing = world.service.reserve(&Caller::Admin, &world.project, &none, ASK, None).await;
    let missing = missing.expect_err("missing");
    assert!(matches!(missing, ServiceError::Rejected(Rejection::QueueMissing { .. })));
}
