//! The oracle: every command in plain lists, without rows, codecs or entries.
//!
//! Not here: what an operation of a client is (`checks`), ranges of single values and MACs of
//! reservation ids: those two are taken over from what was told.
//! Invariants: `ready` of a queue names its free messages that are the oldest of their key; a
//! position is larger than any before it; log time never falls.
//! Source: reliability 2, "second oracle" (TigerBeetle's executable model); the commands' own docs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::rc::Rc;

use bessemer_model::limits::{
    DEAD_LETTER_MOVES_MAX, EXPIRY_BUCKET, PROJECT_RETRY_KEYS_MAX, RESERVE_BYTES_MAX,
    RESERVE_COUNT_MAX, RETRY_KEY_LIFE, TIMERS_PER_BATCH_MAX,
};
use bessemer_model::rejection::Quotum;
use bessemer_model::{
    Command, GroupId, Handle, MessageId, Millis, NewMessage, Outcome, ProjectId, QueueName, Quota,
    Rejection, Request, ReservationId, ReservedMessage, RetryKey, TokenId, Usage,
};

mod queue;

pub use queue::{Hold, Message, Queue};
use queue::{Undo, dead_letter, is_range_refusal};

/// What a request came to.
pub type Told = Result<Outcome, Rejection>;

#[derive(Clone, Debug)]
pub struct Project {
    pub queues: BTreeMap<QueueName, Queue>,
    pub quota: Quota,
    pub tokens: BTreeSet<TokenId>,
    number: u64,
    retry_keys: u64,
}

impl Project {
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.queues.values().map(|queue| queue.bytes).sum(),
            messages: self.queues.values().map(|queue| queue.messages.len() as u64).sum(),
            queues: self.queues.len() as u64,
            retry_keys: self.retry_keys,
            tokens: self.tokens.len() as u64,
        }
    }
}

/// What one request may still give and move. Source: `model::limits`.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    messages: u64,
    bytes: u64,
    moves: u64,
}

/// A message that something may become due for: when, position, and where it was.
type Timer = Reverse<(u64, u64, Rc<(ProjectId, QueueName)>)>;

/// State of one group after the requests that were applied so far.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub projects: BTreeMap<ProjectId, Project>,
    pub now: Millis,
    /// More came due at this very moment than one entry settles: the log may still be behind.
    pub doubtful: bool,
    initialized: bool,
    projects_made: u64,
    sequence: u64,
    generation: u64,
    allowance: Allowance,
    /// By project number (0: those kept by the group) and key.
    retries: BTreeMap<(u64, String), ([u8; 16], Outcome)>,
    retry_ends: VecDeque<(Millis, u64, ProjectId, String)>,
    group_retry_keys: u64,
    timers: BinaryHeap<Timer>,
    /// What the transaction under way has changed so far, to be taken back: every other command
    /// refuses before it changes anything.
    undo: Option<Vec<Undo>>,
}

impl Model {
    /// Applies `request` at `log_time`, and says what it must have come to.
    ///
    /// `told` is what the log answered. Two things of it are taken over: MACs of reservation ids,
    /// and refusals of single values that are out of the range they name.
    /// Cost: logarithmic in what is stored, for each message that is named or given.
    pub fn apply(&mut self, log_time: Millis, request: &Request, told: &Told) -> Told {
        self.settle(log_time);
        let Request { project, retry, command } = request;
        let group = matches!(command, Command::CreateProject { .. } | Command::DeleteProject);
        let known = self.projects.get(project).map(|known| known.number);
        let keeper = if group { Some(0) } else { known };
        let row = retry.as_ref().zip(keeper).map(|(retry, number)| match number {
            0 => (number, format!("{project} {}", retry.key), retry),
            _ => (number, retry.key.to_string(), retry),
        });
        if let Some((number, key, retry)) = &row
            && let Some((hash, outcome)) = self.retries.get(&(*number, key.clone()))
        {
            let same = *hash == retry.request_hash;
            return if same { Ok(outcome.clone()) } else { Err(Rejection::RetryKeyMismatch) };
        }
        if let Err(refusal) = told
            && is_range_refusal(refusal)
        {
            return Err(refusal.clone());
        }
        if let Some((number, ..)) = &row {
            let (kept, limit) = match self.projects.get(project) {
                Some(of) if *number > 0 => (of.retry_keys, of.quota.retry_keys_max),
                Some(_) | None => (self.group_retry_keys, PROJECT_RETRY_KEYS_MAX),
            };
            if kept >= limit {
                return Err(Rejection::OverQuota { what: Quotum::RetryKeys, limit });
            }
        }
        self.undo = matches!(command, Command::Transaction { .. }).then(Vec::new);
        let (messages, bytes) = (u64::from(RESERVE_COUNT_MAX), RESERVE_BYTES_MAX);
        self.allowance = Allowance { messages, bytes, moves: u64::from(DEAD_LETTER_MOVES_MAX) };
        let numbers = (self.sequence, self.generation);
        let answer = self.command(project, command, told.as_ref().ok());
        match (&answer, row) {
            (Ok(outcome), Some((number, key, retry))) => {
                self.keep(project, number, key, retry, outcome);
            }
            (Err(_), _) => {
                (self.sequence, self.generation) = numbers;
                if let Some(project) = self.projects.get_mut(project) {
                    for undo in self.undo.take().into_iter().flatten().rev() {
                        undo.take_back(&mut project.queues);
                    }
                }
            }
            (Ok(_), None) => {}
        }
        answer
    }

    fn keep(&mut self, id: &ProjectId, number: u64, key: String, retry: &RetryKey, is: &Outcome) {
        match self.projects.get_mut(id) {
            Some(project) if number > 0 => project.retry_keys += 1,
            Some(_) | None if number == 0 => self.group_retry_keys += 1,
            Some(_) | None => return, // The project ended with the request.
        }
        self.retries.insert((number, key.clone()), (retry.request_hash, is.clone()));
        self.retry_ends.push_back((self.now.after(RETRY_KEY_LIFE), number, id.clone(), key));
    }

    /// Whether `log_time` is before that of a request already applied, which no log has.
    pub fn is_behind(&self, log_time: Millis) -> bool {
        log_time < self.now
    }

    /// Moves log time on and does all that is due.
    pub(crate) fn settle(&mut self, log_time: Millis) {
        self.doubtful &= log_time <= self.now;
        self.now = self.now.max(log_time);
        let mut settled = 0;
        let mut last = Millis::ZERO;
        while self.timers.peek().is_some_and(|Reverse((due, ..))| *due <= self.now.0) {
            let Some(Reverse((due, position, place))) = self.timers.pop() else { break };
            let project = self.projects.get_mut(&place.0);
            if let Some(queue) = project.and_then(|project| project.queues.get_mut(&place.1))
                && queue.settle(position, self.now)
            {
                settled += 1;
                last = Millis(due);
            }
        }
        while self.retry_ends.front().is_some_and(|(until, ..)| *until <= self.now) {
            let Some((until, number, id, key)) = self.retry_ends.pop_front() else { break };
            self.retries.remove(&(number, key));
            match self.projects.get_mut(&id) {
                Some(project) if number == project.number => project.retry_keys -= 1,
                Some(_) | None => self.group_retry_keys -= u64::from(number == 0),
            }
            settled += 1;
            last = last.max(until);
        }
        self.doubtful |= settled >= TIMERS_PER_BATCH_MAX && last == self.now;
    }

    fn command(&mut self, id: &ProjectId, command: &Command, told: Option<&Outcome>) -> Told {
        match command {
            Command::Tick | Command::Sweep => return Ok(Outcome::Done),
            Command::InitGroup { .. } if self.initialized => {
                return Err(Rejection::GroupInitialized);
            }
            Command::InitGroup { .. } => {
                self.initialized = true;
                return Ok(Outcome::Done);
            }
            Command::CreateProject { .. } if self.projects.contains_key(id) => {
                return Err(Rejection::ProjectExists { project: id.clone() });
            }
            Command::CreateProject { quota, .. } => {
                self.projects_made += 1;
                let (queues, tokens, number) =
                    (BTreeMap::new(), BTreeSet::new(), self.projects_made);
                let project = Project { queues, quota: *quota, tokens, number, retry_keys: 0 };
                self.projects.insert(id.clone(), project);
                return Ok(Outcome::ProjectCreated { id: id.clone() });
            }
            Command::CreateToken { token } => {
                let taken = self.projects.values().any(|other| other.tokens.contains(&token.id));
                if taken && self.projects.contains_key(id) {
                    return Err(Rejection::TokenExists { token: token.id.clone() });
                }
            }
            _ => {} // Asked of the project, below.
        }
        let Some((id, mut project)) = self.projects.remove_entry(id) else {
            return Err(Rejection::ProjectMissing { project: id.clone() });
        };
        let answer = match (command, told) {
            (Command::DeleteProject, _) => return Ok(Outcome::Done),
            (Command::Transaction { commands }, _)
                if commands.iter().any(|one| !is_member(one)) =>
            {
                Err(Rejection::TransactionMember)
            }
            (Command::Transaction { commands }, told) => {
                let told = match told {
                    Some(Outcome::Transacted { outcomes }) => outcomes.as_slice(),
                    Some(_) | None => &[],
                };
                let each = commands.iter().enumerate();
                let all = each.map(|(at, one)| self.one(&id, &mut project, one, told.get(at)));
                all.collect::<Result<_, _>>().map(|outcomes| Outcome::Transacted { outcomes })
            }
            (one, told) => self.one(&id, &mut project, one, told),
        };
        self.projects.insert(id, project);
        answer
    }

    /// A command of one project that is no transaction.
    fn one(
        &mut self,
        id: &ProjectId,
        of: &mut Project,
        one: &Command,
        told: Option<&Outcome>,
    ) -> Told {
        let (quota, now) = (of.quota, self.now);
        let over = |what, limit| Err(Rejection::OverQuota { what, limit });
        match one {
            Command::UpdateQuota { patch } => {
                of.quota = patch.apply_to(quota);
                Ok(Outcome::QuotaUpdated { quota: of.quota })
            }
            Command::CreateToken { .. } if of.tokens.len() as u64 >= quota.tokens_max => {
                over(Quotum::Tokens, quota.tokens_max)
            }
            Command::CreateToken { token } => {
                of.tokens.insert(token.id.clone());
                Ok(Outcome::TokenCreated { id: token.id.clone() })
            }
            Command::RevokeToken { id } if of.tokens.remove(id) => Ok(Outcome::Done),
            Command::RevokeToken { id } => Err(Rejection::TokenMissing { token: id.clone() }),
            Command::PutQueue { queue, patch } => {
                let old = of.queues.get(queue);
                let mut settings = old.map(|old| old.settings.clone()).unwrap_or_default();
                let names = dead_letter(queue, &mut settings, patch.dead_letter.as_ref())?;
                let created = old.is_none();
                let makes = created || names.is_some_and(|target| !of.queues.contains_key(target));
                if makes && of.queues.len() as u64 >= quota.queues_max {
                    return over(Quotum::Queues, quota.queues_max);
                }
                let timeout = patch.message_timeout.unwrap_or(settings.message_timeout);
                let life = patch.message_expiration.unwrap_or(settings.message_expiration);
                (settings.message_timeout, settings.message_expiration) = (timeout, life);
                let row = self.queue(id, of, queue);
                let before = std::mem::replace(&mut row.settings, settings.clone());
                self.note(|| Undo::Settings { queue: queue.clone(), before });
                Ok(Outcome::QueuePut { settings, created })
            }
            Command::PostMessages { queue, messages } => {
                let bytes: u64 = messages.iter().map(|message| message.body.len() as u64).sum();
                let (usage, count) = (of.usage(), messages.len() as u64);
                if !of.queues.contains_key(queue) && usage.queues >= quota.queues_max {
                    return over(Quotum::Queues, quota.queues_max);
                }
                if count > 0 && usage.messages + count > quota.messages_max {
                    return over(Quotum::Messages, quota.messages_max);
                }
                if bytes > 0 && usage.bytes + bytes > quota.bytes_max {
                    return over(Quotum::Bytes, quota.bytes_max);
                }
                self.queue(id, of, queue);
                let ids = messages.iter().map(|new| self.post(of, queue, new)).collect();
                Ok(Outcome::Posted { ids })
            }
            Command::ReserveMessages { queue, count, timeout, delete } => {
                existing(of, queue)?;
                let told = match told {
                    Some(Outcome::Reserved { messages }) => messages.as_slice(),
                    Some(_) | None => &[],
                };
                let messages = self.reserve(id, of, queue, (*count, *timeout, *delete), told);
                Ok(Outcome::Reserved { messages })
            }
            Command::DeleteQueue { queue } | Command::ClearQueue { queue } => {
                let row = existing(of, queue)?;
                let old = std::mem::replace(row, row.emptied());
                self.note(|| Undo::Queue { queue: queue.clone(), before: Some(Box::new(old)) });
                if matches!(one, Command::ClearQueue { .. }) {
                    return Ok(Outcome::Cleared);
                }
                of.queues.remove(queue);
                Ok(Outcome::QueueDeleted)
            }
            Command::AckMessage { queue, handle } => {
                let position = existing(of, queue)?.may_delete(handle)?;
                self.set(of, queue, position, None);
                Ok(Outcome::Deleted { count: 1 })
            }
            Command::AckMessages { queue, handles } => {
                let row = existing(of, queue)?;
                let there = |handle: &&Handle| row.places.contains_key(&handle.message);
                let found = handles.iter().filter(there).map(|handle| row.may_delete(handle));
                let gone = found.collect::<Result<BTreeSet<u64>, _>>()?;
                if let (Some(first), true) = (handles.first(), gone.is_empty()) {
                    return Err(Rejection::MessageMissing { message: first.message });
                }
                gone.iter().for_each(|position| self.set(of, queue, *position, None));
                Ok(Outcome::Deleted { count: gone.len() as u32 })
            }
            Command::TouchMessage { queue, message, reservation, timeout } => {
                let row = existing(of, queue)?;
                let (position, mut held) = row.held(*message, *reservation)?;
                let Some(hold) = &mut held.held else { unreachable!("it was found held") };
                hold.until = now.after(timeout.unwrap_or(row.settings.message_timeout));
                let mac = match told {
                    Some(Outcome::Touched { reservation }) => reservation.mac(),
                    Some(_) | None => 0,
                };
                hold.macs.push(mac);
                let touch = u16::try_from(hold.macs.len() - 1).unwrap_or(u16::MAX);
                let reservation = ReservationId::new(hold.generation, touch, mac);
                held.reserved_count += 1;
                self.set(of, queue, position, Some(held));
                Ok(Outcome::Touched { reservation })
            }
            Command::ReleaseMessage { queue, message, reservation, delay } => {
                let (position, mut held) = existing(of, queue)?.held(*message, *reservation)?;
                held.delayed = (*delay > Millis::ZERO).then(|| now.after(*delay));
                self.give_back(of, queue, position, held);
                Ok(Outcome::Released)
            }
            Command::UndoReserve { queue, held } => {
                for held in held {
                    let found = existing(of, queue)?.held(held.message, held.reservation);
                    let Ok((position, mut message)) = found else { continue };
                    if message.held.as_ref().is_some_and(|hold| hold.macs.len() == 1) {
                        message.reserved_count -= 1;
                        self.give_back(of, queue, position, message);
                    }
                }
                existing(of, queue).map(|_| Outcome::Released)
            }
            _ => Err(Rejection::TransactionMember),
        }
    }

    fn note(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(undone) = &mut self.undo {
            undone.push(undo());
        }
    }

    /// The queue, made if it is missing.
    fn queue<'a>(
        &mut self,
        id: &ProjectId,
        of: &'a mut Project,
        name: &QueueName,
    ) -> &'a mut Queue {
        if !of.queues.contains_key(name) {
            self.note(|| Undo::Queue { queue: name.clone(), before: None });
        }
        let make = || Queue::new(Rc::new((id.clone(), name.clone())));
        of.queues.entry(name.clone()).or_insert_with(make)
    }

    /// Puts, changes or removes a message, so that it can be taken back.
    fn set(&mut self, of: &mut Project, name: &QueueName, position: u64, message: Option<Message>) {
        let Some(queue) = of.queues.get_mut(name) else { unreachable!("the queue was found") };
        let new = message.as_ref().filter(|_| !queue.messages.contains_key(&position));
        let held = message.as_ref().and_then(|message| message.held.as_ref());
        let delayed = message.as_ref().and_then(|message| message.delayed);
        let due = [held.map(|hold| hold.until), delayed, new.map(|new| new.expires_at)];
        let timer = |due: Millis| Reverse((due.0, position, queue.place.clone()));
        self.timers.extend(due.into_iter().flatten().map(timer));
        let before = queue.set(position, message);
        self.note(|| {
            let before = before.map(Box::new);
            Undo::Row { queue: name.clone(), position, before }
        });
    }

    /// Ends a reservation: the message is free again, or gone if its life is over.
    fn give_back(&mut self, of: &mut Project, queue: &QueueName, position: u64, message: Message) {
        let message = Message { held: None, ..message };
        let lives = message.expires_at > self.now;
        self.set(of, queue, position, lives.then_some(message));
    }

    fn life(&self, life: Millis) -> Millis {
        let until = self.now.after(life).0;
        Millis(until.checked_next_multiple_of(EXPIRY_BUCKET.0).unwrap_or(u64::MAX))
    }

    fn post(&mut self, of: &mut Project, queue: &QueueName, new: &NewMessage) -> MessageId {
        self.sequence += 1;
        let default = of.queues.get(queue).map(|queue| queue.settings.message_expiration);
        let message = Message {
            id: MessageId::new(GroupId(0), self.sequence),
            body: new.body.as_slice().into(),
            key: new.ordering_key.clone(),
            reserved_count: 0,
            expires_at: self.life(new.expiration.or(default).unwrap_or_default()),
            delayed: (new.delay > Millis::ZERO).then(|| self.now.after(new.delay)),
            held: None,
        };
        let id = message.id;
        self.set(of, queue, self.sequence, Some(message));
        id
    }

    fn reserve(
        &mut self,
        id: &ProjectId,
        of: &mut Project,
        name: &QueueName,
        (count, timeout, delete): (u32, Option<Millis>, bool),
        told: &[ReservedMessage],
    ) -> Vec<ReservedMessage> {
        let mut given = Vec::new();
        while given.len() < count as usize {
            let Some(queue) = of.queues.get(name) else { break };
            let Some(position) = queue.ready.first().copied() else { break };
            let mut message = queue.messages[&position].clone();
            let until = self.now.after(timeout.unwrap_or(queue.settings.message_timeout));
            if let Some(target) = queue.moves_to(&message).cloned() {
                let Some(moves) = self.allowance.moves.checked_sub(1) else { break };
                self.allowance.moves = moves;
                self.set(of, name, position, None);
                let life = self.queue(id, of, &target).settings.message_expiration;
                message.expires_at = self.life(life);
                self.sequence += 1;
                self.set(of, &target, self.sequence, Some(message));
                continue;
            }
            let Allowance { messages, bytes, .. } = self.allowance;
            let left = messages.checked_sub(1).zip(bytes.checked_sub(message.body.len() as u64));
            let Some((messages, bytes)) = left else { break };
            self.allowance = Allowance { messages, bytes, ..self.allowance };
            self.generation += 1;
            message.reserved_count += 1;
            let mac = told.get(given.len()).map_or(0, |told| told.reservation.mac());
            given.push(ReservedMessage {
                id: message.id,
                body: Some(message.body.to_vec()),
                reserved_count: message.reserved_count,
                reservation: ReservationId::new(self.generation, 0, mac),
            });
            message.held = Some(Hold { until, generation: self.generation, macs: vec![mac] });
            self.set(of, name, position, (!delete).then_some(message));
        }
        given
    }
}

fn existing<'a>(of: &'a mut Project, queue: &QueueName) -> Result<&'a mut Queue, Rejection> {
    of.queues.get_mut(queue).ok_or_else(|| Rejection::QueueMissing { queue: queue.clone() })
}

fn is_member(command: &Command) -> bool {
    use Command as C;
    !matches!(
        command,
        C::InitGroup { .. }
            | C::Tick
            | C::Sweep
            | C::CreateProject { .. }
            | C::UpdateQuota { .. }
            | C::DeleteProject
            | C::CreateToken { .. }
            | C::RevokeToken { .. }
            | C::Transaction { .. }
    )
}
