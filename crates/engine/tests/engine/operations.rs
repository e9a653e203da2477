//! Random requests from a seed, over few queues, keys and times, so that they meet each other.

use bessemer_model::{
    Command, DeadLetterPatch, Handle, Held, MessageId, Millis, NewMessage, OrderingKey, Outcome,
    ProjectId, QueueName, QueuePatch, Quota, QuotaPatch, Request, ReservationId, RetryKey, Role,
    TokenId, TokenRecord,
};

/// A small generator (splitmix64): the same seed gives the same numbers everywhere.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// Makes requests; knows the ids that were told, so that it can name them again.
pub struct Operations {
    pub chance: Chance,
    pub now: Millis,
    /// The project of the request being made.
    project: usize,
    /// By project: where each was posted, and where each was reserved.
    messages: [Vec<(QueueName, MessageId)>; 2],
    reservations: [Vec<(QueueName, MessageId, ReservationId)>; 2],
}

pub const QUEUES: [&str; 5] = ["a", "b", "c", "d", "e"];
pub const PROJECTS: [&str; 2] = ["p", "r"];
const TOLD_MAX: usize = 60;
/// All times are multiples of this, in ms, so that requests often come at the very moment at which
/// something is due.
const STEP: u64 = 100;

pub fn quota() -> Quota {
    Quota {
        bytes_max: 400,
        messages_max: 120,
        queues_max: 4,
        retry_keys_max: 6,
        tokens_max: 1,
        waiters_max: 1,
    }
}

impl Operations {
    pub fn new(seed: u64) -> Operations {
        Operations {
            chance: Chance(seed),
            now: Millis(0),
            project: 0,
            messages: Default::default(),
            reservations: Default::default(),
        }
    }

    /// The next request, and the time it comes at.
    pub fn next(&mut self) -> (Millis, Request) {
        self.now.0 += match self.chance.below(2000) {
            0 => 43_200_000,
            1..=10 => self.chance.below(600) * STEP,
            11..=600 => self.chance.below(9) * STEP,
            _ => 0,
        };
        self.project = self.chance.below(2) as usize;
        let project = ProjectId::new(PROJECTS[self.project]);
        let command = match self.chance.below(1000) {
            0 if self.chance.one_in(3) => Command::DeleteProject,
            0..=9 => Command::CreateProject { name: "again".into(), quota: quota() },
            10..=14 => Command::Sweep,
            15..=16 => Command::Tick,
            17..=19 => Command::UpdateQuota { patch: self.quota_patch() },
            20..=21 => Command::CreateToken { token: self.token() },
            22..=23 => Command::RevokeToken { id: self.token().id },
            24..=69 => {
                let count = self.chance.below(5);
                Command::Transaction {
                    commands: (0..count).map(|_| self.queue_command()).collect(),
                }
            }
            _ => self.queue_command(),
        };
        let keyed = self.chance.one_in(15);
        let retry = keyed.then(|| RetryKey {
            key: self.chance.pick(&["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"]).into(),
            request_hash: [self.chance.below(2) as u8; 16],
        });
        (self.now, Request { project, retry, command })
    }

    /// Learns ids from the outcome of the request made last.
    pub fn hear(&mut self, command: &Command, outcome: &Outcome) {
        let messages = &mut self.messages[self.project];
        let reservations = &mut self.reservations[self.project];
        match (command, outcome) {
            (Command::PostMessages { queue, .. }, Outcome::Posted { ids }) => {
                messages.extend(ids.iter().map(|id| (queue.clone(), *id)));
            }
            (Command::ReserveMessages { queue, .. }, Outcome::Reserved { messages }) => {
                let held = messages.iter().map(|one| (queue.clone(), one.id, one.reservation));
                reservations.extend(held);
            }
            (Command::TouchMessage { queue, message, .. }, Outcome::Touched { reservation }) => {
                reservations.push((queue.clone(), *message, *reservation))
            }
            (Command::Transaction { commands }, Outcome::Transacted { outcomes }) => {
                for (command, outcome) in commands.iter().zip(outcomes) {
                    self.hear(command, outcome);
                }
            }
            _ => {}
        }
        let messages = &mut self.messages[self.project];
        messages.drain(..messages.len().saturating_sub(TOLD_MAX));
        let reservations = &mut self.reservations[self.project];
        reservations.drain(..reservations.len().saturating_sub(TOLD_MAX));
    }

    /// Bounds around those of `quota`.
    fn quota_patch(&mut self) -> QuotaPatch {
        let chance = &mut self.chance;
        QuotaPatch {
            bytes_max: chance.one_in(2).then(|| 300 + chance.below(200)),
            messages_max: chance.one_in(2).then(|| 90 + chance.below(60)),
            queues_max: chance.one_in(2).then(|| 3 + chance.below(3)),
            retry_keys_max: chance.one_in(2).then(|| 4 + chance.below(5)),
            tokens_max: chance.one_in(2).then(|| chance.below(3)),
            waiters_max: None,
        }
    }

    fn token(&mut self) -> TokenRecord {
        TokenRecord {
            id: TokenId::new(self.chance.pick(&["t1", "t2", "t3"])),
            secret_hash: [self.chance.below(256) as u8; 32],
            role: self.chance.pick(&[Role::Reader, Role::Member, Role::Owner]),
            name: "a token".into(),
            expires_at: self.chance.one_in(2).then_some(self.now),
        }
    }

    fn queue(&mut self) -> QueueName {
        QueueName::new(self.chance.pick(&QUEUES))
    }

    fn queue_command(&mut self) -> Command {
        let queue = self.queue();
        match self.chance.below(100) {
            0..=29 => {
                let count = self.chance.below(4);
                Command::PostMessages { queue, messages: (0..count).map(|_| self.post()).collect() }
            }
            30..=54 => {
                let count = match self.chance.below(40) {
                    0 => 0,
                    1 => 100,
                    _ => 1 + self.chance.below(4) as u32,
                };
                Command::ReserveMessages {
                    queue,
                    count,
                    timeout: self.chance.one_in(2).then(|| self.time(20_000)),
                    delete: self.chance.one_in(5),
                }
            }
            55..=69 => {
                let (queue, handle) = self.handle();
                Command::AckMessage { queue, handle }
            }
            70..=74 => {
                let count = self.chance.below(6);
                let mut handles = Vec::new();
                let mut at = queue;
                for _ in 0..count {
                    let (queue, handle) = self.handle();
                    at = queue;
                    handles.push(handle);
                }
                Command::AckMessages { queue: at, handles }
            }
            75..=81 => {
                let (queue, message, reservation) = self.held();
                let timeout = self.chance.one_in(2).then(|| self.time(20_000));
                Command::TouchMessage { queue, message, reservation, timeout }
            }
            82..=83 => {
                let count = 1 + self.chance.below(3);
                let mut at = queue;
                let mut undone = Vec::new();
                for _ in 0..count {
                    let (queue, message, reservation) = self.held();
                    at = queue;
                    undone.push(Held { message, reservation });
                }
                Command::UndoReserve { queue: at, held: undone }
            }
            84..=89 => {
                let (queue, message, reservation) = self.held();
                let delay = if self.chance.one_in(2) { Millis::ZERO } else { self.time(5_000) };
                Command::ReleaseMessage { queue, message, reservation, delay }
            }
            90..=97 => Command::PutQueue { queue, patch: self.patch() },
            98 if self.chance.one_in(2) => Command::ClearQueue { queue },
            99 if self.chance.one_in(4) => Command::DeleteQueue { queue },
            _ => Command::PostMessages { queue, messages: Vec::new() },
        }
    }

    /// Mostly in range for reservations and lives, now and then below their least.
    fn time(&mut self, max: u64) -> Millis {
        Millis(900 + self.chance.below(max / STEP) * STEP)
    }

    fn post(&mut self) -> NewMessage {
        let key = self.chance.pick(&["", "", "", "k", "k", "kk", "l"]);
        NewMessage {
            body: vec![b'x'; self.chance.below(9) as usize],
            delay: if self.chance.one_in(4) { self.time(5_000) } else { Millis::ZERO },
            expiration: self.chance.one_in(3).then(|| self.time(9_000)),
            ordering_key: (!key.is_empty()).then(|| OrderingKey::new(key)),
        }
    }

    /// A reservation told before, rather a new one; now and then a forged or a foreign one, or
    /// one of another queue.
    fn held(&mut self) -> (QueueName, MessageId, ReservationId) {
        let count = self.reservations[self.project].len() as u64;
        if count == 0 {
            return (self.queue(), MessageId(1), ReservationId(1));
        }
        let back = self.chance.below(count).min(self.chance.below(count));
        let told = &self.reservations[self.project][(count - 1 - back) as usize];
        let (queue, message, reservation) = told.clone();
        match self.chance.below(30) {
            0 => (queue, message, ReservationId(reservation.0 ^ 1)),
            1 => (queue, self.message().1, reservation),
            2 => (self.queue(), message, reservation),
            _ => (queue, message, reservation),
        }
    }

    fn message(&mut self) -> (QueueName, MessageId) {
        let count = self.messages[self.project].len() as u64;
        if count == 0 || self.chance.one_in(50) {
            return (self.queue(), MessageId(self.chance.next()));
        }
        let place = self.chance.below(count) as usize;
        self.messages[self.project][place].clone()
    }

    fn handle(&mut self) -> (QueueName, Handle) {
        if self.chance.one_in(3) {
            let (queue, message) = self.message();
            return (queue, Handle { message, reservation: None });
        }
        let (queue, message, reservation) = self.held();
        (queue, Handle { message, reservation: Some(reservation) })
    }

    fn patch(&mut self) -> QueuePatch {
        QueuePatch {
            message_timeout: self.chance.one_in(2).then(|| self.time(30_000)),
            message_expiration: self.chance.one_in(3).then(|| self.time(90_000)),
            dead_letter: match self.chance.below(6) {
                0 => Some(DeadLetterPatch::Remove),
                1..=3 => Some(DeadLetterPatch::Set {
                    queue: self.chance.one_in(2).then(|| self.queue()),
                    max_reservations: self.chance.one_in(2).then(|| self.chance.below(4) as u32),
                }),
                _ => None,
            },
        }
    }
}
