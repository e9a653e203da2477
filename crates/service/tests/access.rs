//! Who gets in, how far, and until when.

use bessemer_harness::{ADMIN, World};
use bessemer_model::{
    Command, Handle, MessageId, Millis, NodeId, ProjectId, QueueName, Quota, Role,
};
use bessemer_seam::consensus::MembershipChange;
use bessemer_service::{Caller, Freshness, MintedToken, NewToken, QuotaPatch, ServiceError};

fn token_for(role: Role) -> NewToken {
    NewToken { name: "a test".into(), role, expires_at: None }
}

async fn mint(world: &World, new: NewToken, key: Option<&str>) -> MintedToken {
    let minted = world.service.create_token(&Caller::Admin, &world.project, new, key).await;
    minted.expect("minted")
}

async fn enter(world: &World, token: &str) -> Result<Caller, ServiceError> {
    world.service.authenticate(Some(token)).await
}

fn is_unauthorized(result: Result<Caller, ServiceError>) -> bool {
    matches!(result, Err(ServiceError::Unauthorized))
}

#[tokio::test]
async fn the_operator_enters_with_the_whole_token_alone() {
    let world = World::start();
    assert_eq!(enter(&world, ADMIN).await.expect("known"), Caller::Admin);
    for wrong in ["", " ", &ADMIN[1..], &format!("{ADMIN} "), "OPERATOR"] {
        assert!(is_unauthorized(enter(&world, wrong).await), "{wrong:?}");
    }
    assert!(is_unauthorized(world.service.authenticate(None).await));
}

#[tokio::test]
async fn a_minted_token_enters_with_its_role() {
    let world = World::start();
    for role in [Role::Reader, Role::Member, Role::Owner] {
        let minted = mint(&world, token_for(role), None).await;
        let expected =
            Caller::Token { project: world.project.clone(), role, id: minted.id.clone() };
        assert_eq!(enter(&world, &minted.token).await.expect("known"), expected);
        // The second time from memory.
        assert_eq!(enter(&world, &minted.token).await.expect("known"), expected);
    }
}

#[tokio::test]
async fn a_forged_secret_does_not_enter() {
    let world = World::start();
    let minted = mint(&world, token_for(Role::Owner), None).await;
    let last = minted.token.chars().last().expect("not empty");
    let other = if last == '0' { '1' } else { '0' };
    let forged = format!("{}{other}", &minted.token[..minted.token.len() - 1]);
    assert!(is_unauthorized(enter(&world, &forged).await));
    let unknown = minted.token.replace(minted.id.as_str(), "0000000000000000");
    assert!(is_unauthorized(enter(&world, &unknown).await));
}

#[tokio::test]
async fn a_revoked_token_is_out_at_once() {
    let world = World::start();
    let minted = mint(&world, token_for(Role::Owner), None).await;
    assert!(enter(&world, &minted.token).await.is_ok());
    let revoked =
        world.service.revoke_token(&Caller::Admin, &world.project, minted.id.clone(), None);
    revoked.await.expect("revoked");
    assert!(is_unauthorized(enter(&world, &minted.token).await));
}

#[tokio::test(start_paused = true)]
async fn a_token_revoked_by_another_node_is_forgotten_by_the_hint() {
    let world = World::start();
    let minted = mint(&world, token_for(Role::Owner), None).await;
    assert!(enter(&world, &minted.token).await.is_ok());
    let command = Command::RevokeToken { id: minted.id.clone() };
    let (project, retry) = (world.project.clone(), None);
    world.node.apply(bessemer_model::Request { project, retry, command }).expect("revoked");
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert!(is_unauthorized(enter(&world, &minted.token).await));
}

#[tokio::test]
async fn a_token_expires_in_log_time() {
    let world = World::start();
    let expires_at = Some(Millis(1_700_000_001_000));
    let minted = mint(&world, NewToken { expires_at, ..token_for(Role::Reader) }, None).await;
    world.node.pass(999);
    assert!(enter(&world, &minted.token).await.is_ok());
    world.node.pass(1);
    assert!(is_unauthorized(enter(&world, &minted.token).await));
}

#[tokio::test]
async fn tokens_end_with_their_project() {
    let world = World::start();
    let minted = mint(&world, token_for(Role::Owner), None).await;
    assert!(enter(&world, &minted.token).await.is_ok());
    let deleted = world.service.delete_project(&Caller::Admin, &world.project, None);
    deleted.await.expect("deleted");
    assert!(is_unauthorized(enter(&world, &minted.token).await));
}

#[tokio::test]
async fn a_role_and_a_project_bound_what_a_token_may() {
    let world = World::start();
    world.node.post(&world.project, "q", &["a"]);
    let other = world.node.create_project("other", Quota::default());
    let queue = QueueName::new("q");
    let reader = enter(&world, &mint(&world, token_for(Role::Reader), None).await.token).await;
    let member = enter(&world, &mint(&world, token_for(Role::Member), None).await.token).await;
    let (reader, member) = (reader.expect("known"), member.expect("known"));
    let (service, project) = (&world.service, &world.project);
    let forbidden = |result: Result<(), ServiceError>| {
        assert!(matches!(result, Err(ServiceError::Forbidden)), "{result:?}");
    };

    assert!(service.queue(&reader, project, &queue, Freshness::Current).await.is_ok());
    forbidden(service.queue(&reader, &other, &queue, Freshness::Current).await.map(drop));
    forbidden(service.post(&reader, project, queue.clone(), vec![], None).await.map(drop));
    let handle = Handle { message: MessageId(0), reservation: None };
    forbidden(service.ack(&reader, project, queue.clone(), handle, None).await);

    assert!(service.post(&member, project, queue.clone(), vec![], None).await.is_ok());
    forbidden(service.post(&member, &other, queue.clone(), vec![], None).await.map(drop));
    forbidden(service.delete_queue(&member, project, queue.clone(), None).await);
    let hidden = vec![Command::DeleteQueue { queue: queue.clone() }];
    forbidden(service.transact(&member, project, hidden, None).await.map(drop));
    forbidden(
        service.create_token(&member, project, token_for(Role::Reader), None).await.map(drop),
    );
    forbidden(service.list_tokens(&member, project, "", 30, Freshness::Current).await.map(drop));
    forbidden(service.create_project(&member, None, "x", Quota::default(), None).await.map(drop));
    forbidden(service.update_quota(&member, project, QuotaPatch::default(), None).await.map(drop));
    forbidden(service.cluster_status(&member).map(drop));
    let leave = MembershipChange::Leave { node: NodeId(2) };
    forbidden(service.change_membership(&member, leave).await);
    assert!(world.node.membership().is_empty());
}

#[tokio::test]
async fn a_keyed_mint_shows_the_same_token_again_and_no_other() {
    let world = World::start();
    let first = mint(&world, token_for(Role::Owner), Some("k")).await;
    let again = mint(&world, token_for(Role::Owner), Some("k")).await;
    assert_eq!(first.token, again.token);
    let other = mint(&world, token_for(Role::Owner), Some("l")).await;
    assert_ne!(first.token, other.token);
    let changed = world.service.create_token(
        &Caller::Admin,
        &world.project,
        token_for(Role::Reader),
        Some("k"),
    );
    let changed = changed.await.expect_err("another request under the same key");
    assert!(matches!(changed, ServiceError::Rejected(r) if r.code() == "RetryKeyMismatch"));
    assert!(enter(&world, &first.token).await.is_ok());
}

#[tokio::test]
async fn a_revoked_token_never_comes_back_under_its_key() {
    let world = World::start();
    let leaked = mint(&world, token_for(Role::Owner), Some("k")).await;
    let revoked =
        world.service.revoke_token(&Caller::Admin, &world.project, leaked.id.clone(), None);
    revoked.await.expect("revoked");
    let again = mint(&world, token_for(Role::Owner), Some("k")).await;
    assert_eq!(again.token, leaked.token, "the same outcome");
    assert!(is_unauthorized(enter(&world, &leaked.token).await), "which is revoked");
    world.node.pass(86_400_000);
    let anew = mint(&world, token_for(Role::Owner), Some("k")).await;
    assert!(anew.id != leaked.id && anew.token != leaked.token);
    assert!(enter(&world, &anew.token).await.is_ok());
    assert!(is_unauthorized(enter(&world, &leaked.token).await));
    let mixed = leaked.token.replace(leaked.id.as_str(), anew.id.as_str());
    assert!(is_unauthorized(enter(&world, &mixed).await), "the secret is another, too");
}

#[tokio::test]
async fn a_keyed_project_is_created_once() {
    let world = World::start();
    let create = async |name: &str, key: Option<&str>| {
        world.service.create_project(&Caller::Admin, None, name, Quota::default(), key).await
    };
    let first = create("a", Some("k")).await.expect("created");
    assert_eq!(create("a", Some("k")).await.expect("the same"), first);
    assert_eq!(first.as_str().len(), 24);
    assert!(first.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert!(create("b", Some("k")).await.is_err());
    assert_ne!(create("a", None).await.expect("created"), first);
}

#[tokio::test]
async fn a_keyed_end_of_a_project_happens_once_and_so_does_its_beginning() {
    let world = World::start();
    let create = async || {
        world.service.create_project(&Caller::Admin, None, "a", Quota::default(), Some("k")).await
    };
    let delete = async |id: &ProjectId, key: Option<&str>| {
        world.service.delete_project(&Caller::Admin, id, key).await
    };
    let id = create().await.expect("created");
    delete(&id, Some("k2")).await.expect("deleted");
    delete(&id, Some("k2")).await.expect("the same outcome");
    assert_eq!(create().await.expect("the same outcome"), id);
    let shown = world.service.project(&Caller::Admin, &id, Freshness::Current).await;
    assert!(matches!(shown, Err(ServiceError::Rejected(r)) if r.code() == "ProjectMissing"));
    assert!(delete(&id, None).await.is_err(), "a new request meets what is there");
    world.node.pass(86_400_000);
    assert_eq!(create().await.expect("anew"), id);
    delete(&id, Some("k2")).await.expect("deleted anew");
}

#[tokio::test]
async fn a_quota_patch_leaves_the_other_bounds() {
    let world = World::start();
    let patch = QuotaPatch { queues_max: Some(1), ..QuotaPatch::default() };
    let updated = world.service.update_quota(&Caller::Admin, &world.project, patch, None).await;
    assert_eq!(updated.expect("updated"), Quota { queues_max: 1, ..Quota::default() });
    let id = world.project.clone();
    let shown = world.service.project(&Caller::Admin, &id, Freshness::Stale).await;
    assert_eq!(shown.expect("there").quota.queues_max, 1);
    // Two changes at once leave each other alone, and a repeated one says what it said before.
    let update = async |patch, key| {
        world.service.update_quota(&Caller::Admin, &world.project, patch, key).await
    };
    let tokens = QuotaPatch { tokens_max: Some(2), ..QuotaPatch::default() };
    let more = QuotaPatch { queues_max: Some(4), ..QuotaPatch::default() };
    let (first, second) = tokio::join!(update(tokens, Some("k")), update(more, None));
    let (first, second) = (first.expect("updated"), second.expect("updated"));
    assert_eq!((first.tokens_max, second.queues_max), (2, 4));
    let bytes = QuotaPatch { bytes_max: Some(3), ..QuotaPatch::default() };
    update(bytes, None).await.expect("updated");
    assert_eq!(update(tokens, Some("k")).await.expect("the same"), first);
    let shown = world.service.project(&Caller::Admin, &id, Freshness::Current).await;
    assert_eq!(
        shown.expect("there").quota,
        Quota { bytes_max: 3, queues_max: 4, tokens_max: 2, ..first }
    );
    let none = ProjectId::new("none");
    let missing = world.service.update_quota(&Caller::Admin, &none, patch, None).await;
    assert!(matches!(missing, Err(ServiceError::Rejected(r)) if r.code() == "ProjectMissing"));
}
