//! The engine against the oracle of `bessemer-history`: random requests, every answer compared, and all that can be
//! seen from outside at the end.
//!
//! `BESSEMER_MODEL_OPS` sets the number of requests, `BESSEMER_MODEL_SEED` the seed.

use bessemer_engine::read;
use bessemer_history::model::{Model, Queue, Told};
use bessemer_model::limits::{
    MESSAGE_EXPIRATION_MAX, MESSAGE_EXPIRATION_MIN, MESSAGE_TIMEOUT_MAX, MESSAGE_TIMEOUT_MIN,
    RESERVE_COUNT_MAX,
};
use bessemer_model::rejection::{Counted, Timed};
use bessemer_model::{
    Command, DeadLetterPatch, Millis, Outcome, ProjectId, QueueName, Rejection, Request,
};
use bessemer_seam::kv::Kv;

use crate::operations::{Operations, PROJECTS, QUEUES, quota};
use crate::world::World;

/// Ranges the random requests may leave, in check order.
pub fn check_ranges(command: &Command) -> Result<(), Rejection> {
    match command {
        Command::PostMessages { messages, .. } => {
            let (min, max) = (MESSAGE_EXPIRATION_MIN, MESSAGE_EXPIRATION_MAX);
            let mut lives = messages.iter().filter_map(|message| message.expiration);
            lives.try_for_each(|life| in_time(Timed::MessageExpiration, life, min, max))
        }
        Command::PutQueue { patch, .. } => {
            let (min, max) = (MESSAGE_TIMEOUT_MIN, MESSAGE_TIMEOUT_MAX);
            if let Some(timeout) = patch.message_timeout {
                in_time(Timed::MessageTimeout, timeout, min, max)?;
            }
            let (min, max) = (MESSAGE_EXPIRATION_MIN, MESSAGE_EXPIRATION_MAX);
            if let Some(life) = patch.message_expiration {
                in_time(Timed::MessageExpiration, life, min, max)?;
            }
            match &patch.dead_letter {
                Some(DeadLetterPatch::Set { max_reservations: Some(0), .. }) => {
                    let (what, count_max) = (Counted::MaxReservations, 1000);
                    Err(Rejection::CountOutOfRange { what, count: 0, count_max })
                }
                _ => Ok(()),
            }
        }
        Command::ReserveMessages { count, timeout, .. } => {
            if !(1..=RESERVE_COUNT_MAX).contains(count) {
                let (what, count) = (Counted::Reservations, u64::from(*count));
                return Err(Rejection::CountOutOfRange { what, count, count_max: 100 });
            }
            timeout.map_or(Ok(()), check_timeout)
        }
        Command::TouchMessage { timeout, .. } => timeout.map_or(Ok(()), check_timeout),
        _ => Ok(()),
    }
}

fn check_timeout(timeout: Millis) -> Result<(), Rejection> {
    in_time(Timed::MessageTimeout, timeout, MESSAGE_TIMEOUT_MIN, MESSAGE_TIMEOUT_MAX)
}

fn in_time(what: Timed, given: Millis, min: Millis, max: Millis) -> Result<(), Rejection> {
    if given < min || given > max {
        return Err(Rejection::TimeOutOfRange { what, given, min, max });
    }
    Ok(())
}

/// Whether the engine's answer is the oracle's. A repeated outcome has the bodies that still live.
fn same(engine: &Told, oracle: &Told) -> bool {
    match (engine, oracle) {
        (Ok(engine), Ok(oracle)) => bessemer_history::oracle::is_same(engine, oracle),
        (engine, oracle) => engine == oracle,
    }
}

/// Bugs planted into what the oracle is asked, so that the comparison can be seen to find them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    /// A millisecond late.
    LapsesLate,
    KeysAreIgnored,
    RetriesHappenAgain,
}

fn with_bug(bug: Option<Bug>, mut request: Request) -> Request {
    match (bug, &mut request.command) {
        (Some(Bug::LapsesLate), Command::ReserveMessages { timeout: Some(timeout), .. }) => {
            timeout.0 += 1;
        }
        (Some(Bug::KeysAreIgnored), Command::PostMessages { messages, .. }) => {
            messages.iter_mut().for_each(|message| message.ordering_key = None);
        }
        (Some(Bug::RetriesHappenAgain), _) => request.retry = None,
        (Some(Bug::LapsesLate | Bug::KeysAreIgnored) | None, _) => {}
    }
    request
}

/// The oracle takes refusals of ranges over, so they are checked here.
fn ranges_are_refused(request: &Request, answer: &Told) {
    use Rejection::{CountOutOfRange, LengthOutOfRange, TimeOutOfRange};
    let refused = matches!(
        answer,
        Err(CountOutOfRange { .. } | LengthOutOfRange { .. } | TimeOutOfRange { .. })
    );
    let expected = match &request.command {
        Command::Transaction { commands } if commands.is_empty() => {
            let what = Counted::Commands;
            Err(CountOutOfRange { what, count: 0, count_max: 100 })
        }
        Command::Transaction { commands } => commands.iter().try_for_each(check_ranges),
        command => check_ranges(command),
    };
    match &expected {
        Err(expected) if refused => assert_eq!(answer.as_ref().unwrap_err(), expected),
        Err(_) => {
            let known = request.retry.is_some() && answer.is_ok();
            assert!(known || answer.is_err(), "{request:?} is out of range: {answer:?}");
        }
        Ok(()) => assert!(!refused, "{request:?} is in range: {answer:?}"),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How often each outcome and refusal was met.
type Met = std::collections::BTreeMap<&'static str, u64>;

/// Asks engine and oracle the same `count` requests. Fails where their answers differ.
fn run(count: u64, seed: u64, bug: Option<Bug>) -> Result<Met, String> {
    let mut oracle = Model::default();
    let mut operations = Operations::new(seed);
    let mut world = World::empty();
    world.say("init");
    let mut met = Met::new();
    for step in 0..count {
        if step % 5_000 == 4_999 {
            world.restart();
            compare(&world, &oracle);
        }
        let (now, request) = if step < 2 {
            let command = Command::CreateProject { name: "first".into(), quota: quota() };
            let project = ProjectId::new(PROJECTS[step as usize]);
            (Millis(0), Request { project, retry: None, command })
        } else {
            operations.next()
        };
        world.set_time(now);
        let (answer, _) = world.request(request.clone());
        let expected = oracle.apply(now, &with_bug(bug, request.clone()), &answer);
        if !same(&answer, &expected) {
            return Err(format!(
                "seed {seed}, step {step}, {now}: {request:?}\n  engine: {answer:?}\n  \
                 oracle: {expected:?}"
            ));
        }
        ranges_are_refused(&request, &answer);
        match &answer {
            Ok(outcome) => {
                operations.hear(&request.command, outcome);
                *met.entry(outcome_name(outcome)).or_default() += 1;
            }
            Err(rejection) => *met.entry(rejection.code()).or_default() += 1,
        }
    }
    compare(&world, &oracle);
    Ok(met)
}

#[test]
fn the_engine_keeps_the_promises_of_the_oracle() {
    let count = number("BESSEMER_MODEL_OPS", crate::rounds(20_000, 1_000_000));
    let seed = number("BESSEMER_MODEL_SEED", 1);
    let met = run(count, seed, None).unwrap_or_else(|difference| panic!("{difference}"));
    assert!(met.len() >= 26, "every outcome and refusal was met: {met:?}");
    let common = ["Reserved", "Deleted", "Touched", "Released", "Transacted", "OverQuota"];
    for name in common {
        assert!(met[name] >= count / 200, "{name} was met often enough: {met:?}");
    }
}

#[test]
fn an_oracle_with_a_bug_is_told_from_the_engine() {
    for bug in [Bug::LapsesLate, Bug::KeysAreIgnored, Bug::RetriesHappenAgain] {
        let difference = run(5_000, 2, Some(bug)).unwrap_err();
        assert!(difference.contains("seed 2"), "{difference}");
    }
}

/// Messages, reserved ones, delayed ones, and bytes of all bodies.
fn counts_of(queue: &Queue) -> (u64, u64, u64, u64) {
    let messages = || queue.messages.values();
    let reserved = messages().filter(|message| message.held.is_some()).count() as u64;
    let delayed = messages().filter(|message| message.delayed.is_some()).count() as u64;
    let bytes = messages().map(|message| message.body.len() as u64).sum();
    (queue.messages.len() as u64, reserved, delayed, bytes)
}

/// Compares all that can be read: lists, counters, messages, order.
fn compare(world: &World, oracle: &Model) {
    let view = world.engine.kv().view();
    for id in PROJECTS.map(ProjectId::new) {
        let info = read::project(&view, &id).unwrap();
        let Some(project) = oracle.projects.get(&id) else {
            assert_eq!(info, None);
            continue;
        };
        let info = info.unwrap();
        assert_eq!((info.usage, info.quota), (project.usage(), project.quota));
        let tokens = read::list_tokens(&view, &id, "", 100).unwrap().unwrap();
        assert!(tokens.iter().map(|token| &token.id).eq(&project.tokens), "{tokens:?}");
        let names = read::list_queues(&view, &id, "", "", 100).unwrap();
        assert!(names.iter().eq(project.queues.keys()), "{names:?}");
        for name in QUEUES.map(QueueName::new) {
            let info = read::queue_info(&view, &id, &name).unwrap();
            let Some(queue) = project.queues.get(&name) else {
                assert_eq!(info, None);
                continue;
            };
            let info = info.unwrap();
            let counts = (info.size, info.reserved, info.delayed, info.bytes);
            assert_eq!(counts, counts_of(queue), "{id} {name}: size, reserved, delayed, bytes");
            assert_eq!((info.total, info.settings), (queue.total, queue.settings.clone()));
            let peeked = read::peek(&view, &id, &name, 100).unwrap().unwrap();
            let peeked: Vec<_> = peeked.into_iter().map(|message| message.id).collect();
            let ready: Vec<_> =
                queue.ready.iter().take(100).map(|at| queue.messages[at].id).collect();
            assert_eq!(peeked, ready);
            for message in queue.messages.values() {
                let found = read::get_message(&view, &id, &name, message.id).unwrap().unwrap();
                let expected = (message.id, message.body.to_vec(), message.reserved_count);
                assert_eq!((found.id, found.body, found.reserved_count), expected);
            }
        }
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "Done",
        Outcome::ProjectCreated { .. } => "ProjectCreated",
        Outcome::QuotaUpdated { .. } => "QuotaUpdated",
        Outcome::TokenCreated { .. } => "TokenCreated",
        Outcome::QueuePut { .. } => "QueuePut",
        Outcome::QueueDeleted => "QueueDeleted",
        Outcome::Posted { .. } => "Posted",
        Outcome::Reserved { .. } => "Reserved",
        Outcome::Deleted { .. } => "Deleted",
        Outcome::Touched { .. } => "Touched",
        Outcome::Released => "Released",
        Outcome::Cleared => "Cleared",
        Outcome::Transacted { .. } => "Transacted",
    }
}
