//! Idempotency keys as use cases see them: one outcome for each key, whoever asks at once.

use bessemer_harness::World;
use bessemer_model::{Handle, MessageId, Millis, NewMessage, ProjectId, QueueName, Quota};
use bessemer_service::{Caller, Freshness, ServiceError};

fn queue() -> QueueName {
    QueueName::new("q")
}

fn message(body: &str) -> NewMessage {
    NewMessage { body: body.into(), delay: Millis::ZERO, expiration: None, ordering_key: None }
}

async fn post(
    world: &World,
    project: &ProjectId,
    body: &str,
    key: &str,
) -> Result<Vec<MessageId>, ServiceError> {
    let messages = vec![message(body)];
    world.service.post(&Caller::Admin, project, queue(), messages, Some(key)).await
}

fn code(result: Result<impl std::fmt::Debug, ServiceError>) -> &'static str {
    match result {
        Err(ServiceError::Rejected(rejection)) => rejection.code(),
        other => panic!("not rejected: {other:?}"),
    }
}

async fn size(world: &World) -> u64 {
    let info =
        world.service.queue(&Caller::Admin, &world.project, &queue(), Freshness::Current).await;
    info.expect("there").size
}

#[tokio::test]
async fn the_same_request_twice_at_once_happens_once() {
    let world = World::start();
    let ask = || post(&world, &world.project, "a", "k");
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    let ids = one.expect("posted");
    assert_eq!((&two.expect("posted"), &three.expect("posted")), (&ids, &ids));
    assert_eq!(size(&world).await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_project() {
    let world = World::start();
    let ids = post(&world, &world.project, "a", "k").await.expect("posted");
    assert_eq!(code(post(&world, &world.project, "b", "k").await), "RetryKeyMismatch");
    let (service, caller, project) = (&world.service, &Caller::Admin, &world.project);
    let cleared = service.clear(caller, project, queue(), Some("k")).await;
    assert_eq!(code(cleared), "RetryKeyMismatch", "another verb");
    let handle = Handle { message: ids[0], reservation: None };
    let acked = service.ack(caller, project, queue(), handle, Some("k")).await;
    assert_eq!(code(acked), "RetryKeyMismatch");
    assert_eq!(size(&world).await, 1, "nothing of it was done");
    let other = world.node.create_project("other", Quota::default());
    assert_ne!(post(&world, &other, "a", "k").await.expect("posted"), ids);
}

#[tokio::test]
async fn keys_have_a_length_a_number_and_a_life() {
    let world = World::with(Quota { retry_keys_max: 2, ..Quota::default() });
    let project = &world.project;
    for key in ["", &"k".repeat(256)] {
        assert_eq!(code(post(&world, project, "a", key).await), "LengthOutOfRange");
    }
    let longest = "k".repeat(255);
    let first = post(&world, project, "a", &longest).await.expect("posted");
    post(&world, project, "b", "l").await.expect("posted");
    assert_eq!(code(post(&world, project, "c", "m").await), "OverQuota");
    assert_eq!(post(&world, project, "a", &longest).await.expect("known"), first);
    world.node.pass(86_399_999);
    assert_eq!(post(&world, project, "a", &longest).await.expect("known"), first);
    world.node.pass(1);
    assert_ne!(post(&world, project, "a", &longest).await.expect("new"), first);
    assert_eq!(size(&world).await, 3);
}
