//! Clients: each asks one thing after the other, of any node, and writes down what it heard.
//!
//! Not here: judging answers, faults. A client never sends again what it does not know the
//! outcome of, unless it has an idempotency key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bessemer_engine::read;
use bessemer_model::{
    Command, DeadLetterPatch, Failure, Handle, MessageId, Millis, NewMessage, NodeId, OrderingKey,
    Outcome, ProjectId, QueueName, QueuePatch, Rejection, Request, ReservedMessage, RetryKey,
};

use bessemer_seam::consensus::Consensus;

use crate::doors::Doors;
use crate::history::{Answer, Event, Got, Held, History, Op, QueueNumber, Uid};
use crate::runtime::Sim;
use crate::seed::Rng;

/// What a queue of the workload is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Plain,
    Delayed,
    /// Every message has an ordering key.
    Keyed,
    /// Messages die here, and move to `Dead`.
    Dying,
    Dead,
}

pub const QUEUES: QueueNumber = 6;
pub const DYING_QUEUE: QueueNumber = 4;
pub const DEAD_QUEUE: QueueNumber = 5;
pub const DYING_MAX_RESERVATIONS: u32 = 3;
/// Ordering keys in use at a time.
const KEYS: u64 = 4;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a keyed post is sent again before the client gives up.
const KEYED_TRIES_MAX: u32 = 20;
/// Messages that one client holds at most.
const HELD_MAX: usize = 20;
/// Messages that one client remembers to have posted.
const POSTED_MAX: usize = 30;

pub fn kind_of(queue: QueueNumber) -> Kind {
    match queue {
        0 | 1 => Kind::Plain,
        2 => Kind::Delayed,
        3 => Kind::Keyed,
        DYING_QUEUE => Kind::Dying,
        DEAD_QUEUE => Kind::Dead,
        _ => unreachable!("there are {QUEUES} queues"),
    }
}

pub fn project() -> ProjectId {
    ProjectId::new("0123456789abcdef01234567")
}

pub fn queue_name(queue: QueueNumber) -> QueueName {
    QueueName::new(format!("{:?}-{queue}", kind_of(queue)).to_lowercase())
}

/// The body of a message: its uid, and a filling that depends on it, now and then a large one.
pub fn body_of(uid: Uid) -> Vec<u8> {
    let mut rng = Rng::new(uid);
    let bytes = if rng.chance(20_000) { rng.below(5_000) } else { rng.below(200) };
    let filling = (0..bytes).map(|place| (uid.wrapping_mul(31).wrapping_add(place)) as u8);
    uid.to_be_bytes().into_iter().chain(filling).collect()
}

/// The uid in a body, if it is one that `body_of` made.
pub fn uid_of(body: &[u8]) -> Option<Uid> {
    let uid = Uid::from_be_bytes(*body.first_chunk()?);
    (body == body_of(uid)).then_some(uid)
}

/// What all clients share.
pub struct Workload {
    pub sim: Sim,
    pub doors: Doors,
    pub history: History,
    next_uid: AtomicU64,
    stopped: AtomicBool,
}

impl Workload {
    pub fn new(sim: &Sim, doors: Doors) -> Arc<Workload> {
        Arc::new(Workload {
            sim: sim.clone(),
            doors,
            history: History::default(),
            next_uid: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
        })
    }

    /// Lets every client end after what it is doing.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn uid(&self) -> Uid {
        self.next_uid.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes the project and its queues; tries until each is there.
    pub async fn set_up(&self, rng: &mut Rng) {
        let quota = bessemer_model::Quota::default();
        let mut commands = vec![Command::CreateProject { name: "simulation".into(), quota }];
        // The queue of the dead first: the dying name it.
        for queue in (0..QUEUES).rev() {
            let dead_letter = (kind_of(queue) == Kind::Dying).then(|| DeadLetterPatch::Set {
                queue: Some(queue_name(DEAD_QUEUE)),
                max_reservations: Some(DYING_MAX_RESERVATIONS),
            });
            let patch = QueuePatch { dead_letter, ..QueuePatch::default() };
            commands.push(Command::PutQueue { queue: queue_name(queue), patch });
        }
        for command in commands {
            let request = Request { project: project(), retry: None, command };
            loop {
                let node = self.doors.any(rng);
                let answer = self.doors.propose(node, request.clone(), PATIENCE).await;
                match answer {
                    Ok(_) | Err(Failure::Rejected(_)) => break,
                    Err(Failure::NotDone(_) | Failure::Unknown) => {
                        self.sim.sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    /// One call and its record.
    pub async fn call(&self, node: NodeId, op: Op, retry: Option<RetryKey>) -> Answer {
        let called_ns = self.sim.now().as_nanos() as u64;
        let log_low = self.doors.log_time(node).unwrap_or_default();
        let answer = match &op {
            Op::Look { queue, message } => self.look(node, *queue, *message).await,
            _ => {
                let request = Request { project: project(), retry, command: command_of(&op) };
                answer_of(&op, self.doors.propose(node, request, PATIENCE).await)
            }
        };
        let log_high = self.doors.log_time(node).unwrap_or(Millis(u64::MAX));
        let answered_ns = self.sim.now().as_nanos() as u64;
        self.sim.note(format_args!("client {node} {op:?} -> {answer:?}"));
        let event =
            Event { node, called_ns, answered_ns, log_low, log_high, op, answer: answer.clone() };
        self.history.add(event);
        answer
    }
}

impl Workload {
    /// Reads one message behind a barrier.
    async fn look(&self, node: NodeId, queue: QueueNumber, message: MessageId) -> Answer {
        let Some(door) = self.doors.door(node) else {
            self.sim.sleep(Duration::from_millis(10)).await;
            return Answer::NotDone;
        };
        let call = self.doors.call(door, PATIENCE, move |replica| {
            Box::pin(async move {
                if replica.barrier(PATIENCE).await.is_err() {
                    return Answer::NotDone;
                }
                let view = replica.view();
                match read::get_message(&*view, &project(), &queue_name(queue), message) {
                    Ok(Ok(_)) => Answer::Seen(true),
                    Ok(Err(Rejection::MessageMissing { .. })) => Answer::Seen(false),
                    Ok(Err(rejection)) => Answer::Refused(rejection),
                    Err(fault) => Answer::Nonsense(fault.to_string()),
                }
            })
        });
        call.await.unwrap_or(Answer::NotDone)
    }
}

/// What an operation is in the words of the log.
fn command_of(op: &Op) -> Command {
    let handle =
        |held: &Held| Handle { message: held.message, reservation: Some(held.reservation) };
    match op {
        Op::Post { queue, uids, delay, key, .. } => {
            let message = |uid: &Uid| NewMessage {
                body: body_of(*uid),
                delay: *delay,
                expiration: None,
                ordering_key: key.map(|key| OrderingKey::new(format!("key-{key}"))),
            };
            let messages = uids.iter().map(message).collect();
            Command::PostMessages { queue: queue_name(*queue), messages }
        }
        Op::Reserve { queue, timeout } => Command::ReserveMessages {
            queue: queue_name(*queue),
            count: 1 + (timeout.0 % 7) as u32,
            timeout: Some(*timeout),
            delete: false,
        },
        Op::Ack(held) => {
            Command::AckMessage { queue: queue_name(held.queue), handle: handle(held) }
        }
        Op::Touch { held, timeout } => Command::TouchMessage {
            queue: queue_name(held.queue),
            message: held.message,
            reservation: held.reservation,
            timeout: Some(*timeout),
        },
        Op::Release { held, delay } => Command::ReleaseMessage {
            queue: queue_name(held.queue),
            message: held.message,
            reservation: held.reservation,
            delay: *delay,
        },
        Op::Look { .. } => unreachable!("a look is no command"),
        Op::Swap { held, to, uid } => {
            let post = Op::Post {
                queue: *to,
                uids: vec![*uid],
                delay: Millis::ZERO,
                key: None,
                keyed: false,
            };
            Command::Transaction { commands: vec![command_of(&Op::Ack(*held)), command_of(&post)] }
        }
    }
}

fn got_of(message: ReservedMessage) -> Got {
    Got {
        message: message.id,
        uid: message.body.as_deref().and_then(uid_of),
        reserved_count: message.reserved_count,
        reservation: message.reservation,
    }
}

/// What an outcome says about the operation.
fn answer_of(op: &Op, outcome: Result<Outcome, Failure>) -> Answer {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(Failure::Rejected(rejection)) => return Answer::Refused(rejection),
        Err(Failure::NotDone(_)) => return Answer::NotDone,
        Err(Failure::Unknown) => return Answer::Unknown,
    };
    match (op, outcome) {
        (Op::Post { uids, .. }, Outcome::Posted { ids }) if ids.len() == uids.len() => {
            Answer::Posted(ids)
        }
        (Op::Reserve { .. }, Outcome::Reserved { messages }) => {
            Answer::Reserved(messages.into_iter().map(got_of).collect())
        }
        (Op::Ack(_), Outcome::Deleted { count }) => Answer::Acked(count),
        (Op::Touch { .. }, Outcome::Touched { reservation }) => Answer::Touched(reservation),
        (Op::Release { .. }, Outcome::Released) => Answer::Released,
        (Op::Swap { .. }, Outcome::Transacted { outcomes }) => match &outcomes[..] {
            [Outcome::Deleted { count: 1 }, Outcome::Posted { ids }] if ids.len() == 1 => {
                Answer::Swapped(ids[0])
            }
            _ => Answer::Nonsense(format!("{outcomes:?}")),
        },
        (_, outcome) => Answer::Nonsense(format!("{outcome:?}")),
    }
}

/// One client, until the workload stops.
pub async fn client(workload: Arc<Workload>, mut rng: Rng) {
    let node = workload.doors.any(&mut rng);
    let mut client = Client { node, held: Vec::new(), posted: Vec::new(), rng, workload };
    while !client.workload.stopped.load(Ordering::Relaxed) {
        client.step().await;
        let pause = client.rng.below(40_000);
        client.workload.sim.sleep(Duration::from_micros(pause)).await;
    }
}

struct Client {
    workload: Arc<Workload>,
    rng: Rng,
    /// Asked until chance, or a failure, moves the client on.
    node: NodeId,
    held: Vec<Held>,
    /// The newest messages it posted, to look at.
    posted: Vec<(QueueNumber, MessageId)>,
}

impl Client {
    async fn step(&mut self) {
        if self.rng.chance(100_000) {
            self.node = self.workload.doors.any(&mut self.rng);
        }
        let choice = self.rng.below(100);
        match choice {
            0..5 if !self.posted.is_empty() => {
                let (queue, message) = *self.rng.pick(&self.posted);
                drop(self.call(Op::Look { queue, message }, None).await);
            }
            0..37 => self.post().await,
            37..60 if self.held.len() < HELD_MAX => self.reserve().await,
            _ if self.held.is_empty() => self.reserve().await,
            _ => self.settle().await,
        }
    }

    async fn call(&mut self, op: Op, retry: Option<RetryKey>) -> Answer {
        let answer = self.workload.call(self.node, op, retry).await;
        if matches!(answer, Answer::NotDone | Answer::Unknown) {
            self.node = self.workload.doors.any(&mut self.rng);
        }
        answer
    }

    async fn post(&mut self) {
        let queue = self.rng.below(DEAD_QUEUE as u64) as usize;
        let count = if self.rng.chance(200_000) { 1 + self.rng.below(5) } else { 1 };
        let delay = match kind_of(queue) {
            Kind::Delayed => Millis(self.rng.below(5_000)),
            _ => Millis::ZERO,
        };
        let op = Op::Post {
            queue,
            uids: (0..count).map(|_| self.workload.uid()).collect(),
            delay,
            key: (kind_of(queue) == Kind::Keyed).then(|| self.rng.below(KEYS)),
            keyed: self.rng.chance(200_000),
        };
        let answer = match &op {
            Op::Post { keyed: true, uids, .. } => {
                let key = format!("post-{}", uids[0]);
                self.post_keyed(&op, &key).await
            }
            _ => self.call(op, None).await,
        };
        if let Answer::Posted(ids) = answer {
            self.posted.extend(ids.into_iter().map(|id| (queue, id)));
            let surplus = self.posted.len().saturating_sub(POSTED_MAX);
            self.posted.drain(..surplus);
        }
    }

    /// Sends until there is an outcome, and now and then once more: it must be the same.
    async fn post_keyed(&mut self, op: &Op, key: &str) -> Answer {
        let retry = RetryKey { key: key.into(), request_hash: *b"one key, one op." };
        let mut tries = 0;
        loop {
            let answer = self.call(op.clone(), Some(retry.clone())).await;
            let done = !matches!(answer, Answer::NotDone | Answer::Unknown);
            tries += 1;
            if done && self.rng.chance(700_000) || tries == KEYED_TRIES_MAX {
                return answer;
            }
            self.workload.sim.sleep(Duration::from_millis(self.rng.below(500))).await;
        }
    }

    async fn reserve(&mut self) {
        let queue = self.rng.below(QUEUES as u64) as usize;
        let timeout = Millis(1_000 + self.rng.below(8_000));
        let answer = self.call(Op::Reserve { queue, timeout }, None).await;
        if let Answer::Reserved(gots) = answer {
            self.held.extend(gots.into_iter().map(|got| Held {
                queue,
                message: got.message,
                reservation: got.reservation,
            }));
        }
    }

    /// Does something to one message that is held, perhaps no longer.
    async fn settle(&mut self) {
        let place = self.rng.below(self.held.len() as u64) as usize;
        let held = self.held.swap_remove(place);
        match self.rng.below(100) {
            0..60 => drop(self.call(Op::Ack(held), None).await),
            60..70 if kind_of(held.queue) == Kind::Plain => {
                let uid = self.workload.uid();
                drop(self.call(Op::Swap { held, to: 1, uid }, None).await);
            }
            60..80 => {
                let delayed = kind_of(held.queue) == Kind::Delayed;
                let delay = if delayed { Millis(self.rng.below(3_000)) } else { Millis::ZERO };
                drop(self.call(Op::Release { held, delay }, None).await);
            }
            80..92 => {
                let timeout = Millis(1_000 + self.rng.below(4_000));
                let answer = self.call(Op::Touch { held, timeout }, None).await;
                if let Answer::Touched(reservation) = answer {
                    self.held.push(Held { reservation, ..held });
                }
            }
            // Abandoned: its reservation lapses.
            _ => {}
        }
    }
}

/// Empties every queue after the faults; gives up at `limit` of true time. Returns whether all
/// were found empty, several times over a span longer than any reservation or delay.
pub async fn drain(workload: &Workload, rng: &mut Rng, limit: Duration) -> bool {
    let quiet = Duration::from_secs(20);
    let mut empty_since: Option<Duration> = None;
    while workload.sim.now() < limit {
        let mut found = false;
        let mut sure = true;
        for queue in 0..QUEUES {
            let node = workload.doors.any(rng);
            let op = Op::Reserve { queue, timeout: Millis(5_000) };
            match workload.call(node, op, None).await {
                Answer::Reserved(gots) => {
                    found |= !gots.is_empty();
                    for got in gots {
                        let (message, reservation) = (got.message, got.reservation);
                        let node = workload.doors.any(rng);
                        workload
                            .call(node, Op::Ack(Held { queue, message, reservation }), None)
                            .await;
                    }
                }
                _ => sure = false,
            }
        }
        let now = workload.sim.now();
        if found || !sure {
            empty_since = None;
        } else if now - *empty_since.get_or_insert(now) > quiet {
            return true;
        }
        if !found {
            workload.sim.sleep(Duration::from_millis(500)).await;
        }
    }
    false
}
