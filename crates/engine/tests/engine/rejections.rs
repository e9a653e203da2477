//! One row per refusal of each verb, in the order in which they are checked.
//!
//! Each row breaks its own rule and, where words allow, every later one: so the rows show the
//! order, too. The last row of a verb breaks none.

use bessemer_engine::Fault;
use bessemer_model::{Command, LogIndex, ProjectId, Request};
use bessemer_seam::kv::Table;

use crate::world::{SECRET, World};

/// A full project with queue `q`: m1 reserved as r1 (touched: r2), m2 free and once reserved as
/// r3, m3 gone; and token `t`.
fn check(verb: &str, rows: &[(&str, &str, &str)]) {
    for (name, words, expected) in rows {
        let mut world = World::new();
        for line in [
            "token t",
            "put e",
            "post q a b c",
            "reserve q 2",
            "touch q m1 r1",
            "release q m2 r2",
            "ack q m3",
            "key k/1 reserve e 1",
            "quota bytes=2 messages=2 queues=2 keys=1 tokens=1",
        ] {
            let answer = world.say(line);
            assert!(!answer.contains("rejected"), "setting up: {line}: {answer}");
        }
        let (mut answer, mut before) = (String::new(), Vec::new());
        for line in words.split(" / ") {
            before = rows_of(&world);
            answer = world.say(line);
        }
        let untouched = before == rows_of(&world);
        let answer = answer.split(" | ").next().unwrap();
        let rejection = answer.strip_prefix("rejected ");
        assert_eq!(rejection.unwrap_or("ok"), *expected, "{verb}: {name}: {words}");
        assert!(untouched || rejection.is_none(), "{verb}: {name}: {words}: a row has changed");
    }
}

/// All rows but those that every entry moves on: the group's and the lane's.
fn rows_of(world: &World) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut rows = world.engine.kv().dump();
    rows.retain(|(table, key, _)| *table != Table::Meta && !key.starts_with(b"L"));
    rows
}

/// The same verb with a reservation of another project's message;
fn foreign(line: &str) -> String {
    format!("in other / project / post q d / reserve q 1 / in p / {line}")
}

#[test]
fn post_is_refused_in_this_order() {
    check(
        "post",
        &[
            ("unknown project", "in x / post %0 a*1001", "ProjectMissing"),
            ("empty name", "post %0 a*1001", "LengthOutOfRange QueueName"),
            ("long name", "post n%256 a*1001", "LengthOutOfRange QueueName"),
            ("too many", "post n%255 a+8d~0*1001", "CountOutOfRange Messages"),
            ("long body", "post n a%1048577+8d", "LengthOutOfRange Body"),
            ("long delay", "post n aaa+604801s~0", "TimeOutOfRange Delay"),
            ("no life", "post n aaa@%0~999ms", "TimeOutOfRange MessageExpiration"),
            ("long life", "post n aaa@%0~2592001s", "TimeOutOfRange MessageExpiration"),
            ("empty key", "post n aaa@%0", "LengthOutOfRange OrderingKey"),
            ("long key", "post n aaa@k%129", "LengthOutOfRange OrderingKey"),
            ("one queue too many", "post n aaa", "OverQuota Queues"),
            ("one message too many", "post q aaa", "OverQuota Messages"),
            ("one byte too many", "ack q m2 / post q aa", "OverQuota Bytes"),
            ("all at their limits", "ack q m2 / post q a@k%128+604800s~2592000s", "ok"),
        ],
    );
}

#[test]
fn put_is_refused_in_this_order() {
    check(
        "put",
        &[
            ("unknown project", "in x / put %0 timeout=0", "ProjectMissing"),
            ("empty name", "put %0 timeout=0", "LengthOutOfRange QueueName"),
            ("no timeout", "put n timeout=999ms life=0", "TimeOutOfRange MessageTimeout"),
            ("long timeout", "put n timeout=86401s life=0", "TimeOutOfRange MessageTimeout"),
            ("no life", "put n life=999ms dead=%0", "TimeOutOfRange MessageExpiration"),
            ("long life", "put n life=2592001s dead=%0", "TimeOutOfRange MessageExpiration"),
            ("empty target", "put n dead=%0/0", "LengthOutOfRange QueueName"),
            ("long target", "put n dead=n%256/0", "LengthOutOfRange QueueName"),
            ("zero reservations", "put n dead=/0", "CountOutOfRange MaxReservations"),
            ("many reservations", "put n dead=n/1001", "CountOutOfRange MaxReservations"),
            ("no target yet", "put n dead=/5", "DeadLetterUnnamed"),
            ("itself", "put n dead=n/5", "DeadLetterLoop"),
            ("one queue too many", "put n", "OverQuota Queues"),
            ("one target too many", "put q dead=n", "OverQuota Queues"),
            ("a queue that is there", "put q dead=e/1000 timeout=1s life=30d", "ok"),
        ],
    );
}

#[test]
fn reserve_is_refused_in_this_order() {
    check(
        "reserve",
        &[
            ("unknown project", "in x / reserve n 0", "ProjectMissing"),
            ("none", "reserve n 0 for 0", "CountOutOfRange Reservations"),
            ("too many", "reserve n 101 for 0", "CountOutOfRange Reservations"),
            ("no time", "reserve n 1 for 999ms", "TimeOutOfRange MessageTimeout"),
            ("long time", "reserve n 1 for 86401s", "TimeOutOfRange MessageTimeout"),
            ("unknown queue", "reserve n 1", "QueueMissing"),
            ("at its limits", "reserve q 100 for 86400s", "ok"),
        ],
    );
}

#[test]
fn ack_is_refused_in_this_order() {
    check(
        "ack",
        &[
            ("unknown project", "in x / ack n m3", "ProjectMissing"),
            ("unknown queue", "ack n m3", "QueueMissing"),
            ("unknown message", "ack q m0", "MessageMissing"),
            ("already acknowledged", "ack q m3 r1", "MessageMissing"),
            ("of another queue", "ack e m2", "MessageMissing"),
            ("no reservation", "ack q m1", "ReservationRequired"),
            ("foreign reservation", "ack q m1 r2", "ReservationStale"),
            ("forged reservation", "ack q m1 r1!", "ReservationStale"),
            ("of a free message", "ack q m2 r2", "ReservationStale"),
            ("of a reservation before", "reserve q 1 / ack q m2 r2", "ReservationStale"),
            ("of another project", &foreign("ack q m1 r4"), "ReservationStale"),
            ("of another project's message", &foreign("ack q m4 r4"), "MessageMissing"),
            ("held", "ack q m1 r1", "ok"),
            ("held, by the id after a touch", "ack q m1 r3", "ok"),
            ("free", "ack q m2", "ok"),
        ],
    );
}

#[test]
fn acks_are_refused_in_this_order() {
    check(
        "acks",
        &[
            ("unknown project", "in x / acks n m1*101", "ProjectMissing"),
            ("too many", "acks n m1*101", "CountOutOfRange Deletes"),
            ("unknown queue", "acks n m1", "QueueMissing"),
            ("first bad handle", "acks q m2 m3 m1 m2:r2", "ReservationRequired"),
            ("first bad handle", "acks q m2 m3 m2:r2 m1", "ReservationStale"),
            ("foreign reservation", "acks q m2 m1:r2", "ReservationStale"),
            ("forged reservation", "acks q m2 m1:r1!", "ReservationStale"),
            ("one before", "reserve q 1 / acks q m1:r1 m2:r2", "ReservationStale"),
            ("of another project", &foreign("acks q m2 m1:r4"), "ReservationStale"),
            ("another project's message", &foreign("acks q m4:r4"), "MessageMissing"),
            ("all gone", "acks q m3 m0", "MessageMissing"),
            ("some gone", "acks q m3 m1:r1 m2 m0", "ok"),
            ("none", "acks q", "ok"),
            ("none of a missing queue", "acks n", "QueueMissing"),
        ],
    );
}

#[test]
fn touch_is_refused_in_this_order() {
    check(
        "touch",
        &[
            ("unknown project", "in x / touch n m3 r1 for 0", "ProjectMissing"),
            ("no time", "touch n m3 r1 for 999ms", "TimeOutOfRange MessageTimeout"),
            ("long time", "touch n m3 r1 for 86401s", "TimeOutOfRange MessageTimeout"),
            ("unknown queue", "touch n m3 r1", "QueueMissing"),
            ("gone", "touch q m3 r1", "MessageMissing"),
            ("free", "touch q m2 r2", "ReservationStale"),
            ("foreign", "touch q m1 r2", "ReservationStale"),
            ("forged", "touch q m1 r1!", "ReservationStale"),
            ("never told", "touch q m1 r0", "ReservationStale"),
            ("one before", "reserve q 1 / touch q m2 r2", "ReservationStale"),
            ("of another project", &foreign("touch q m1 r4"), "ReservationStale"),
            ("another project's message", &foreign("touch q m4 r4"), "MessageMissing"),
            ("held", "touch q m1 r1 for 86400s", "ok"),
        ],
    );
}

#[test]
fn release_is_refused_in_this_order() {
    check(
        "release",
        &[
            ("unknown project", "in x / release n m3 r1 after 8d", "ProjectMissing"),
            ("long delay", "release n m3 r1 after 604801s", "TimeOutOfRange Delay"),
            ("unknown queue", "release n m3 r1", "QueueMissing"),
            ("gone", "release q m3 r1", "MessageMissing"),
            ("free", "release q m2 r2", "ReservationStale"),
            ("foreign", "release q m1 r2", "ReservationStale"),
            ("forged", "release q m1 r1!", "ReservationStale"),
            ("never told", "release q m1 r0", "ReservationStale"),
            ("one before", "reserve q 1 / release q m2 r2", "ReservationStale"),
            ("of another project", &foreign("release q m1 r4"), "ReservationStale"),
            ("another project's message", &foreign("release q m4 r4"), "MessageMissing"),
            ("held", "release q m1 r3 after 604800s", "ok"),
        ],
    );
}

#[test]
fn undo_is_refused_in_this_order() {
    check(
        "undo",
        &[
            ("unknown project", "in x / undo n m1:r1*101", "ProjectMissing"),
            ("too many", "undo n m1:r1*101", "CountOutOfRange Reservations"),
            ("unknown queue", "undo n m1:r1", "QueueMissing"),
            ("at its limit", "undo q m1:r1*100", "ok"),
            ("gone, free, foreign, forged", "undo q m3:r1 m2:r3 m1:r2 m1:r1!", "ok"),
        ],
    );
}

#[test]
fn clear_and_delete_are_refused_in_this_order() {
    for verb in ["clear", "delete"] {
        check(
            verb,
            &[
                ("unknown project", &format!("in x / {verb} n"), "ProjectMissing"),
                ("unknown queue", &format!("{verb} n"), "QueueMissing"),
                ("a queue", &format!("{verb} q"), "ok"),
            ],
        );
    }
}

#[test]
fn transactions_are_refused_in_this_order() {
    check(
        "tx",
        &[
            ("unknown project", "in x / tx tick", "ProjectMissing"),
            ("none", "tx", "CountOutOfRange Commands"),
            ("too many", &format!("tx {}", "tick ; ".repeat(101)), "CountOutOfRange Commands"),
            ("not of queues", "tx clear n ; drop-project", "TransactionMember"),
            ("the first refused", "tx clear q ; clear n ; reserve q 0", "QueueMissing"),
            ("none refused", &format!("tx {}", "clear q ; ".repeat(100)), "ok"),
        ],
    );
}

#[test]
fn keyed_requests_are_refused_in_this_order() {
    check(
        "key",
        &[
            ("empty key", "key /1 post q x", "LengthOutOfRange RetryKey"),
            ("another request", "key k/2 clear q", "RetryKeyMismatch"),
            ("one key too many", "key l/1 clear n", "OverQuota RetryKeys"),
            ("unknown project", "in x / key l/1 clear n", "ProjectMissing"),
            ("a known key", "key k/1 clear n", "ok"),
        ],
    );
}

#[test]
fn projects_and_tokens_are_refused_in_this_order() {
    check(
        "project",
        &[
            (
                "long id",
                &format!("in {} / nameless-project", "x".repeat(65)),
                "LengthOutOfRange ProjectId",
            ),
            ("no name", "nameless-project", "LengthOutOfRange ProjectName"),
            ("there already", "project", "ProjectExists"),
            ("a new one", &format!("in {} / project", "x".repeat(64)), "ok"),
        ],
    );
    check("quota", &[("unknown", "in x / quota", "ProjectMissing"), ("known", "quota", "ok")]);
    check("drop-project", &[("unknown", "in x / drop-project", "ProjectMissing")]);
    check(
        "token",
        &[
            ("unknown project", "in x / token %0", "ProjectMissing"),
            ("no id", "token %0", "LengthOutOfRange TokenId"),
            ("long id", "token t%65", "LengthOutOfRange TokenId"),
            ("long name", &format!("token t {}", "n".repeat(256)), "LengthOutOfRange TokenName"),
            ("there already", "token t", "TokenExists"),
            ("one too many", "token u", "OverQuota Tokens"),
            ("a new one", "quota tokens=2 / token u name", "ok"),
        ],
    );
    check(
        "revoke",
        &[
            ("unknown project", "in x / revoke u", "ProjectMissing"),
            ("unknown token", "revoke u", "TokenMissing"),
            ("a token", "revoke t", "ok"),
        ],
    );
}

#[test]
fn init_is_refused_in_this_order() {
    check("init", &[("initialized", "init", "GroupInitialized")]);
    let mut world = World::empty();
    let command = Command::InitGroup { cluster_version: 2, secret: SECRET };
    let request = Request { project: ProjectId::new(""), retry: None, command };
    let part = bessemer_engine::encode_part(None, &[request]);
    let batch = bessemer_engine::encode_batch(Default::default(), &[part]);
    let fault = world.engine.apply(LogIndex(1), &batch).unwrap_err();
    assert!(matches!(fault, Fault::UnknownVersion { cluster_version: 2 }), "{fault}");
    let fault = world.engine.apply(LogIndex(2), &batch).unwrap_err();
    assert!(matches!(fault, Fault::Stopped), "nothing goes on after a fault");
    assert!(matches!(world.engine.commit(&[]), Err(Fault::Stopped)), "nothing half is written");
}
