//! The words the stories are written in, one command a line.
//!
//! ```text
//! at 30s post q a b@key c+5s d~1h   bodies; @ ordering key, + delay, ~ life
//! reserve q 2 [for 30s] [delete]    ack q m1 [r1]      acks q m1:r1 m2
//! touch q m1 r1 [for 30s]           release q m1 r1 [after 5s]   undo q m1:r1 m2:r2
//! put q [timeout=30s] [life=1h] [dead=d/3 | dead=/5 | dead=d | dead=-]
//! clear q   delete q   tx post q a ; ack q m1      key K/H post q a
//! project [name] [messages=9 …]   quota …   drop-project   in other
//! token t [owner]   revoke t   init   tick   sweep   lane 2 boot 1 seq 1 post q a
//! empty (a group before its first entry)
//! info q   usage   peek q 3   get q m1   list [previous]   rows   cold   restart
//! ```

use bessemer_engine::read;
use bessemer_model::{
    BootCount, Command, DeadLetterPatch, Handle, Held, LaneSeq, MessageId, Millis, NewMessage,
    NodeId, OrderingKey, ProjectId, QueueName, QueuePatch, Quota, QuotaPatch, Request,
    ReservationId, RetryKey, Role, TokenId, TokenRecord,
};
use bessemer_seam::kv::Kv;

use crate::world::{SECRET, World};

pub enum Said {
    Request(Box<Request>),
    Lane(LaneSeq, Box<Request>),
    /// A command of the leader itself.
    Own(Box<Request>),
    /// Nothing for the log; the answer.
    Nothing(String),
}

pub fn parse(world: &mut World, line: &str) -> Said {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut words = words.as_slice();
    if let ["at", time, rest @ ..] = words {
        world.set_time(millis(time));
        words = rest;
    }
    match words {
        ["in", project] => {
            world.project = ProjectId::new(*project);
            Said::Nothing("ok".into())
        }
        ["cold"] => {
            world.engine.clear_caches();
            Said::Nothing("ok".into())
        }
        ["empty"] => {
            *world = World::empty();
            Said::Nothing("ok".into())
        }
        ["restart"] => {
            world.restart();
            Said::Nothing("ok".into())
        }
        ["info", queue] => Said::Nothing(world.info(queue)),
        ["usage"] => Said::Nothing(world.usage()),
        ["rows"] => Said::Nothing(world.rows()),
        ["peek", queue, count] => Said::Nothing(world.peek(queue, number(count) as u32)),
        ["get", queue, message] => {
            let message = message_id(world, message);
            Said::Nothing(world.get(queue, message))
        }
        ["list"] => Said::Nothing(list(world, "")),
        ["list", previous] => Said::Nothing(list(world, previous)),
        ["init"] => own(Command::InitGroup { cluster_version: 1, secret: SECRET }),
        ["tick"] => own(Command::Tick),
        ["sweep"] => own(Command::Sweep),
        ["lane", node, "boot", boot, "seq", seq, rest @ ..] => {
            let lane = LaneSeq {
                node: NodeId(number(node)),
                boot: BootCount(number(boot)),
                seq: number(seq),
            };
            Said::Lane(lane, Box::new(request(world, rest)))
        }
        words => Said::Request(Box::new(request(world, words))),
    }
}

fn own(command: Command) -> Said {
    Said::Own(Box::new(Request { project: ProjectId::new(""), retry: None, command }))
}

fn request(world: &World, words: &[&str]) -> Request {
    let (retry, words) = match words {
        ["key", key, rest @ ..] => {
            let (key, hash) = key.split_once('/').unwrap_or((key, "0"));
            let request_hash = [hash.as_bytes()[0]; 16];
            (Some(RetryKey { key: key.into(), request_hash }), rest)
        }
        words => (None, words),
    };
    Request { project: world.project.clone(), retry, command: command(world, words) }
}

fn command(world: &World, words: &[&str]) -> Command {
    match words {
        ["project", rest @ ..] => {
            let quota = quota(rest).apply_to(Quota::default());
            Command::CreateProject { name: "a project".into(), quota }
        }
        ["nameless-project"] => Command::CreateProject { name: "".into(), quota: Quota::default() },
        ["quota", rest @ ..] => Command::UpdateQuota { patch: quota(rest) },
        ["drop-project"] => Command::DeleteProject,
        ["token", id, rest @ ..] => Command::CreateToken {
            token: TokenRecord {
                id: TokenId::new(long(id)),
                secret_hash: [3; 32],
                role: Role::Member,
                name: rest.first().copied().unwrap_or_default().into(),
                expires_at: None,
            },
        },
        ["revoke", id] => Command::RevokeToken { id: TokenId::new(*id) },
        ["tx", rest @ ..] => Command::Transaction {
            commands: rest
                .split(|word| *word == ";")
                .filter(|words| !words.is_empty())
                .map(|words| command(world, words))
                .collect(),
        },
        ["tick"] => Command::Tick,
        [verb, queue, rest @ ..] => queue_command(world, verb, QueueName::new(long(queue)), rest),
        other => panic!("cannot read {other:?}"),
    }
}

fn queue_command(world: &World, verb: &str, queue: QueueName, words: &[&str]) -> Command {
    match (verb, words) {
        ("put", settings) => Command::PutQueue { queue, patch: patch(settings) },
        ("delete", []) => Command::DeleteQueue { queue },
        ("clear", []) => Command::ClearQueue { queue },
        ("post", messages) => Command::PostMessages {
            queue,
            messages: messages.iter().flat_map(|m| post(m)).collect(),
        },
        ("reserve", [count, rest @ ..]) => Command::ReserveMessages {
            queue,
            count: number(count) as u32,
            timeout: after_word(rest, "for"),
            delete: rest.contains(&"delete"),
        },
        ("ack", [message]) => Command::AckMessage { queue, handle: handle(world, message) },
        ("ack", [message, reservation]) => Command::AckMessage {
            queue,
            handle: handle(world, &format!("{message}:{reservation}")),
        },
        ("acks", handles) => Command::AckMessages {
            queue,
            handles: handles.iter().flat_map(|each| many(each, |h| handle(world, h))).collect(),
        },
        ("touch", [message, reservation, rest @ ..]) => Command::TouchMessage {
            queue,
            message: message_id(world, message),
            reservation: reservation_id(world, reservation),
            timeout: after_word(rest, "for"),
        },
        ("release", [message, reservation, rest @ ..]) => Command::ReleaseMessage {
            queue,
            message: message_id(world, message),
            reservation: reservation_id(world, reservation),
            delay: after_word(rest, "after").unwrap_or(Millis::ZERO),
        },
        ("undo", held) => Command::UndoReserve {
            queue,
            held: held.iter().flat_map(|each| many(each, |word| undone(world, word))).collect(),
        },
        other => panic!("cannot read {other:?}"),
    }
}

fn undone(world: &World, word: &str) -> Held {
    let (message, reservation) = word.split_once(':').expect("message:reservation");
    Held { message: message_id(world, message), reservation: reservation_id(world, reservation) }
}

fn after_word(words: &[&str], word: &str) -> Option<Millis> {
    let place = words.iter().position(|each| *each == word)?;
    Some(millis(words[place + 1]))
}

/// `item*3` is the item three times.
fn many<T>(word: &str, read: impl Fn(&str) -> T) -> Vec<T> {
    let (word, times) = match word.split_once('*') {
        Some((word, times)) => (word, number(times)),
        None => (word, 1),
    };
    (0..times).map(|_| read(word)).collect()
}

/// `x%300` is 300 bytes; `%0` is none.
fn long(word: &str) -> String {
    match word.split_once('%') {
        Some((letter, bytes)) => letter.repeat(number(bytes) as usize),
        None => word.into(),
    }
}

fn post(word: &str) -> Vec<NewMessage> {
    many(word, |word| {
        let (word, life) = cut(word, '~');
        let (word, delay) = cut(word, '+');
        let (body, key) = cut(word, '@');
        NewMessage {
            body: long(body).into_bytes(),
            delay: delay.map_or(Millis::ZERO, millis),
            expiration: life.map(millis),
            ordering_key: key.map(|key| OrderingKey::new(long(key))),
        }
    })
}

fn cut(word: &str, at: char) -> (&str, Option<&str>) {
    match word.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (word, None),
    }
}

fn patch(words: &[&str]) -> QueuePatch {
    let mut patch = QueuePatch::default();
    for word in words {
        match word.split_once('=') {
            Some(("timeout", time)) => patch.message_timeout = Some(millis(time)),
            Some(("life", time)) => patch.message_expiration = Some(millis(time)),
            Some(("dead", "-")) => patch.dead_letter = Some(DeadLetterPatch::Remove),
            Some(("dead", set)) => {
                let (queue, count) = cut(set, '/');
                let named = set.starts_with('%') || !queue.is_empty();
                patch.dead_letter = Some(DeadLetterPatch::Set {
                    queue: named.then(|| QueueName::new(long(queue))),
                    max_reservations: count.map(|count| number(count) as u32),
                });
            }
            other => panic!("cannot read setting {other:?}"),
        }
    }
    patch
}

fn quota(words: &[&str]) -> QuotaPatch {
    let mut patch = QuotaPatch::default();
    for word in words {
        let (what, amount) = word.split_once('=').expect("what=amount");
        let bound = match what {
            "bytes" => &mut patch.bytes_max,
            "messages" => &mut patch.messages_max,
            "queues" => &mut patch.queues_max,
            "keys" => &mut patch.retry_keys_max,
            "tokens" => &mut patch.tokens_max,
            "waiters" => &mut patch.waiters_max,
            other => panic!("cannot read quota {other}"),
        };
        *bound = Some(number(amount));
    }
    patch
}

fn handle(world: &World, word: &str) -> Handle {
    let (message, reservation) = cut(word, ':');
    Handle {
        message: message_id(world, message),
        reservation: reservation.map(|word| reservation_id(world, word)),
    }
}

/// `m3` is the third message; `m0` one that never was.
fn message_id(world: &World, word: &str) -> MessageId {
    match number(word.strip_prefix('m').expect("a message is m<number>")) {
        0 => MessageId(5),
        place => world.messages[place as usize - 1],
    }
}

/// `r3` is the third reservation; `r0` one that never was; `r3!` a forgery of the third.
fn reservation_id(world: &World, word: &str) -> ReservationId {
    let word = word.strip_prefix('r').expect("a reservation is r<number>");
    let (word, forged) = match word.strip_suffix('!') {
        Some(word) => (word, true),
        None => (word, false),
    };
    match number(word) {
        0 => ReservationId(77),
        place => ReservationId(world.reservations[place as usize - 1].0 ^ u128::from(forged)),
    }
}

fn list(world: &World, previous: &str) -> String {
    let view = world.engine.kv().view();
    let names = read::list_queues(&view, &world.project, previous, "", 100).unwrap();
    let names: Vec<&str> = names.iter().map(QueueName::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn millis(word: &str) -> Millis {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    Millis(
        number(digits)
            * match &word[digits.len()..] {
                "" | "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                other => panic!("{other} is no unit of time"),
            },
    )
}
