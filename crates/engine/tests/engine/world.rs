//! A world of one engine, spoken to in words (see `words.rs`), answering in words.
//!
//! Messages are named m1, m2, … and reservations r1, r2, … in the order in which they appear.

use bessemer_engine::{Engine, Fault, PartResult, Told, encode_batch, encode_part, read};
use bessemer_model::{
    BootCount, Effect, GroupId, LaneSeq, LogIndex, MessageId, Millis, NodeId, Outcome, ProjectId,
    QueueName, QueueSettings, Rejection, Request, ReservationId,
};
use bessemer_seam::kv::Kv;
use bessemer_seam::kv_memory::MemoryKv;

pub const ME: NodeId = NodeId(1);
/// The present run of the node.
pub const BOOT: BootCount = BootCount(1);
pub const SECRET: [u8; 32] = [7; 32];

pub struct World {
    pub engine: Engine<MemoryKv>,
    pub project: ProjectId,
    pub messages: Vec<MessageId>,
    pub reservations: Vec<ReservationId>,
    now: Millis,
    seq: u64,
}

impl World {
    /// A group with its secret, and the project `p` with default quotas.
    pub fn new() -> World {
        let mut world = World::empty();
        for line in ["init", "project"] {
            world.say(line);
        }
        world
    }

    /// A group before its first entry.
    pub fn empty() -> World {
        World::over(MemoryKv::new())
    }

    /// What the map holds, spoken to under the project `p`.
    pub fn over(kv: MemoryKv) -> World {
        let engine = Engine::open(kv, GroupId(0), ME, BOOT).unwrap();
        let seq = engine.lane(ME).map_or(0, |(_, last)| last);
        World {
            engine,
            project: ProjectId::new("p"),
            messages: Vec::new(),
            reservations: Vec::new(),
            now: Millis(0),
            seq,
        }
    }

    pub fn set_time(&mut self, now: Millis) {
        self.now = now;
    }

    /// Closes the engine and opens it again over what was committed.
    pub fn restart(&mut self) {
        let kv = self.engine.kv().clone();
        self.engine = Engine::open(kv, GroupId(0), ME, BOOT).unwrap();
    }

    /// Applies one request through the next number of the world's own lane, and commits.
    pub fn request(&mut self, request: Request) -> (Result<Outcome, Rejection>, Vec<Effect>) {
        self.seq += 1;
        let lane = LaneSeq { node: ME, boot: BOOT, seq: self.seq };
        let mut told = self.entry(Some(lane), &[request]);
        match told.parts.remove(0).result {
            PartResult::Fresh(mut results) => (results.remove(0), told.effects),
            other => panic!("the lane's next part was {other:?}"),
        }
    }

    /// Applies one entry of one part, and commits.
    pub fn entry(&mut self, lane: Option<LaneSeq>, requests: &[Request]) -> Told {
        let index = LogIndex(self.engine.applied().index.0 + 1);
        let batch = encode_batch(self.now, &[encode_part(lane, requests)]);
        let told = self.engine.apply(index, &batch).unwrap();
        self.engine.commit(&[]).unwrap();
        told
    }

    /// Applies the request the words say, without a commit.
    pub fn try_say(&mut self, words: &str) -> Result<Told, Fault> {
        let crate::words::Said::Request(request) = crate::words::parse(self, words) else {
            panic!("{words} is no request");
        };
        let lane = LaneSeq { node: ME, boot: BOOT, seq: self.seq + 1 };
        let index = LogIndex(self.engine.applied().index.0 + 1);
        self.engine.apply(index, &encode_batch(self.now, &[encode_part(Some(lane), &[*request])]))
    }

    /// Does what the words say, in the world's project, and answers in words.
    pub fn say(&mut self, words: &str) -> String {
        match crate::words::parse(self, words) {
            crate::words::Said::Request(request) => {
                let (result, effects) = self.request(*request);
                self.tell(result, &effects)
            }
            crate::words::Said::Lane(lane, request) => {
                let told = self.entry(Some(lane), &[*request]);
                match told.parts.into_iter().next().unwrap().result {
                    PartResult::Fresh(mut results) => self.tell(results.remove(0), &told.effects),
                    PartResult::Duplicate => "duplicate".into(),
                    PartResult::Gap { expected } => format!("gap, expected {expected}"),
                    PartResult::OldBoot { current } => format!("old boot, now {current}"),
                }
            }
            crate::words::Said::Own(request) => {
                let told = self.entry(None, &[*request]);
                let PartResult::Fresh(mut results) = told.parts.into_iter().next().unwrap().result
                else {
                    panic!("the leader's own parts have no lane");
                };
                self.tell(results.remove(0), &told.effects)
            }
            crate::words::Said::Nothing(answer) => answer,
        }
    }

    fn tell(&mut self, result: Result<Outcome, Rejection>, effects: &[Effect]) -> String {
        let mut text = match result {
            Ok(outcome) => self.outcome(&outcome),
            Err(rejection) => format!("rejected {}", rejection_words(&rejection)),
        };
        let effects: Vec<String> = effects
            .iter()
            .map(|effect| match effect {
                Effect::MessagesReady { queue, .. } => format!("ready {queue}"),
                Effect::QueueDeleted { queue, .. } => format!("deleted {queue}"),
                Effect::TokenRevoked { token, .. } => format!("revoked {token}"),
                Effect::GarbageLeft => "garbage left".into(),
            })
            .collect();
        if !effects.is_empty() {
            text += &format!(" | {}", effects.join(", "));
        }
        text
    }

    pub fn outcome(&mut self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Done => "done".into(),
            Outcome::ProjectCreated { id } => format!("project {id}"),
            Outcome::QuotaUpdated { quota } => format!(
                "quota {} bytes, {} messages, {} queues, {} keys, {} tokens, {} waiters",
                quota.bytes_max,
                quota.messages_max,
                quota.queues_max,
                quota.retry_keys_max,
                quota.tokens_max,
                quota.waiters_max
            ),
            Outcome::TokenCreated { id } => format!("token {id}"),
            Outcome::QueuePut { settings, created } => {
                let verb = if *created { "created" } else { "changed" };
                format!("{verb} {}", settings_words(settings))
            }
            Outcome::QueueDeleted => "queue deleted".into(),
            Outcome::Posted { ids } => {
                let names: Vec<String> = ids.iter().map(|id| self.message_name(*id)).collect();
                if names.is_empty() { "posted none".into() } else { names.join(" ") }
            }
            Outcome::Reserved { messages } if messages.is_empty() => "nothing".into(),
            Outcome::Reserved { messages } => {
                let mut words = Vec::new();
                for message in messages {
                    let name = self.message_name(message.id);
                    let body = match &message.body {
                        Some(body) => body_words(body),
                        None => "(gone)".into(),
                    };
                    let reservation = self.reservation_name(message.reservation);
                    let count = message.reserved_count;
                    words.push(format!("{name} {body} {reservation} x{count}"));
                }
                words.join(", ")
            }
            Outcome::Deleted { count } => format!("deleted {count}"),
            Outcome::Touched { reservation } => self.reservation_name(*reservation),
            Outcome::Released => "released".into(),
            Outcome::Cleared => "cleared".into(),
            Outcome::Transacted { outcomes } => {
                let words: Vec<String> = outcomes.iter().map(|each| self.outcome(each)).collect();
                format!("[{}]", words.join("; "))
            }
        }
    }

    pub fn message_name(&mut self, id: MessageId) -> String {
        let known = self.messages.iter().position(|known| *known == id);
        let place = known.unwrap_or_else(|| {
            self.messages.push(id);
            self.messages.len() - 1
        });
        format!("m{}", place + 1)
    }

    fn reservation_name(&mut self, id: ReservationId) -> String {
        let known = self.reservations.iter().position(|known| *known == id);
        let place = known.unwrap_or_else(|| {
            self.reservations.push(id);
            self.reservations.len() - 1
        });
        format!("r{}", place + 1)
    }

    /// What the queue looks like from outside.
    pub fn info(&mut self, queue: &str) -> String {
        let view = self.engine.kv().view();
        match read::queue_info(&view, &self.project, &QueueName::new(queue)).unwrap() {
            None => "no queue".into(),
            Some(info) => format!(
                "size {} of {}, reserved {}, delayed {}, {} bytes, {}",
                info.size,
                info.total,
                info.reserved,
                info.delayed,
                info.bytes,
                settings_words(&info.settings)
            ),
        }
    }

    pub fn usage(&mut self) -> String {
        let view = self.engine.kv().view();
        match read::project(&view, &self.project).unwrap() {
            None => "no project".into(),
            Some(info) => {
                let usage = info.usage;
                format!(
                    "{} bytes, {} messages, {} queues, {} keys, {} tokens",
                    usage.bytes, usage.messages, usage.queues, usage.retry_keys, usage.tokens
                )
            }
        }
    }

    pub fn peek(&mut self, queue: &str, count: u32) -> String {
        let view = self.engine.kv().view();
        match read::peek(&view, &self.project, &QueueName::new(queue), count).unwrap() {
            Err(rejection) => format!("rejected {}", rejection_words(&rejection)),
            Ok(messages) if messages.is_empty() => "nothing".into(),
            Ok(messages) => {
                let words: Vec<String> =
                    messages.iter().map(|message| self.view_words(message)).collect();
                words.join(", ")
            }
        }
    }

    pub fn get(&mut self, queue: &str, message: MessageId) -> String {
        let view = self.engine.kv().view();
        let queue = QueueName::new(queue);
        match read::get_message(&view, &self.project, &queue, message).unwrap() {
            Err(rejection) => format!("rejected {}", rejection_words(&rejection)),
            Ok(message) => self.view_words(&message),
        }
    }

    fn view_words(&mut self, message: &read::MessageView) -> String {
        let name = self.message_name(message.id);
        format!("{name} {} x{}", body_words(&message.body), message.reserved_count)
    }

    /// Rows left in the map, by table, but for the one row of the group itself.
    pub fn rows(&self) -> String {
        let mut count = std::collections::BTreeMap::new();
        for (_, key, _) in self.engine.kv().dump() {
            if key != b"engine/core" {
                let kind =
                    if key[0] < 0x20 { "body".into() } else { char::from(key[0]).to_string() };
                *count.entry(kind).or_insert(0) += 1;
            }
        }
        let words: Vec<String> = count.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        words.join(", ")
    }
}

/// The text; a long run of one letter as it is posted, `x%300`.
fn body_words(body: &[u8]) -> String {
    match body {
        [first, .., _] if body.len() > 99 && body.iter().all(|byte| byte == first) => {
            format!("{}%{}", char::from(*first), body.len())
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

fn settings_words(settings: &QueueSettings) -> String {
    let mut text = format!(
        "timeout {} s, expiration {} s",
        settings.message_timeout.0 / 1000,
        settings.message_expiration.0 / 1000
    );
    if let Some(dead_letter) = &settings.dead_letter {
        text += &format!(", dead after {} to {}", dead_letter.max_reservations, dead_letter.queue);
    }
    text
}

pub fn rejection_words(rejection: &Rejection) -> String {
    let code = rejection.code();
    match rejection {
        Rejection::LengthOutOfRange { what, .. } => format!("{code} {what:?}"),
        Rejection::CountOutOfRange { what, .. } => format!("{code} {what:?}"),
        Rejection::TimeOutOfRange { what, .. } => format!("{code} {what:?}"),
        Rejection::OverQuota { what, .. } => format!("{code} {what:?}"),
        Rejection::ProjectMissing { .. }
        | Rejection::ProjectExists { .. }
        | Rejection::TokenMissing { .. }
        | Rejection::TokenExists { .. }
        | Rejection::QueueMissing { .. }
        | Rejection::MessageMissing { .. }
        | Rejection::ReservationRequired { .. }
        | Rejection::ReservationStale { .. }
        | Rejection::DeadLetterUnnamed { .. }
        | Rejection::DeadLetterLoop { .. }
        | Rejection::RetryKeyMismatch
        | Rejection::TransactionMember
        | Rejection::GroupInitialized => code.into(),
    }
}
