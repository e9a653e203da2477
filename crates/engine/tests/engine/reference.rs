//! The reference: the same promises in plain lists, without rows, indexes or timers.
//!
//! Not here: range checks that need no state (they are asked of the engine's answer), reservation
//! MACs (what was told is remembered), cost.

use std::collections::{BTreeMap, BTreeSet};

use bessemer_model::rejection::{Counted, Quotum};
use bessemer_model::{
    Command, DeadLetter, DeadLetterPatch, GroupId, Handle, MessageId, Millis, NewMessage, Outcome,
    ProjectId, QueueName, QueueSettings, Quota, Rejection, Request, ReservationId, ReservedMessage,
    TokenId, Usage,
};

#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub body: Vec<u8>,
    key: Option<String>,
    pub count: u32,
    expires_at: u64,
    delayed: Option<u64>,
    /// Until, generation, touch.
    held: Option<(u64, u64, u16)>,
}

#[derive(Clone, Debug, Default)]
pub struct Queue {
    pub settings: QueueSettings,
    /// By position.
    pub messages: BTreeMap<u64, Message>,
    pub total: u64,
}

#[derive(Clone, Debug)]
pub struct Project {
    pub queues: BTreeMap<QueueName, Queue>,
    pub quota: Quota,
    pub tokens: BTreeSet<TokenId>,
    retries: BTreeMap<String, ([u8; 16], Outcome, u64)>,
}

/// Bugs to be planted, so that the comparison can be seen to find them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A millisecond late.
    LapsesLate,
    KeysAreIgnored,
    RetriesHappenAgain,
}

#[derive(Clone, Debug, Default)]
pub struct Reference {
    bug: Option<Bug>,
    pub projects: BTreeMap<ProjectId, Project>,
    /// Of creations and deletions of projects.
    retries: BTreeMap<(ProjectId, String), ([u8; 16], Outcome, u64)>,
    now: u64,
    next_sequence: u64,
    next_generation: u64,
    /// Every reservation ever told, as the engine wrote it.
    told: BTreeSet<(ProjectId, MessageId, ReservationId)>,
}

type Answer = Result<Outcome, Rejection>;

impl Queue {
    /// Positions of what can be reserved, oldest first.
    pub fn ready(&self) -> Vec<u64> {
        let mut keys = BTreeSet::new();
        let mut ready = Vec::new();
        for (position, message) in &self.messages {
            let oldest = message.key.as_ref().is_none_or(|key| keys.insert(key));
            if oldest && message.held.is_none() && message.delayed.is_none() {
                ready.push(*position);
            }
        }
        ready
    }

    /// Messages, reserved ones, delayed ones, and bytes of all bodies.
    pub fn counts(&self) -> (u64, u64, u64, u64) {
        let count = |is: fn(&Message) -> bool| {
            self.messages.values().filter(|message| is(message)).count() as u64
        };
        let bytes = self.messages.values().map(|message| message.body.len() as u64).sum();
        let (reserved, delayed) =
            (count(|one| one.held.is_some()), count(|one| one.delayed.is_some()));
        (self.messages.len() as u64, reserved, delayed, bytes)
    }

    fn settle(&mut self, now: u64) {
        self.messages.retain(|_, message| {
            if let Some((until, _, _)) = message.held
                && until <= now
            {
                message.held = None;
                if message.expires_at <= until {
                    return false;
                }
            }
            message.delayed = message.delayed.filter(|until| *until > now);
            message.held.is_some() || message.expires_at > now
        });
    }

    fn position(&self, id: MessageId) -> Result<u64, Rejection> {
        let found = self.messages.iter().find(|(_, message)| message.id == id);
        found.map(|(position, _)| *position).ok_or(Rejection::MessageMissing { message: id })
    }
}

impl Project {
    pub fn usage(&self) -> Usage {
        let messages = || self.queues.values().flat_map(|queue| queue.messages.values());
        Usage {
            bytes: messages().map(|message| message.body.len() as u64).sum(),
            messages: messages().count() as u64,
            queues: self.queues.len() as u64,
            retry_keys: self.retries.len() as u64,
            tokens: self.tokens.len() as u64,
        }
    }
}

fn life(now: u64, life: Millis) -> u64 {
    (now + life.0).div_ceil(1000) * 1000
}

impl Reference {
    pub fn new() -> Reference {
        Reference { next_sequence: 1, next_generation: 1, ..Reference::default() }
    }

    /// A reference that is wrong.
    pub fn with(bug: Bug) -> Reference {
        Reference { bug: Some(bug), ..Reference::new() }
    }

    /// Applies a request at `now`. `engine` is what the engine answered, of which only the MACs of
    /// reservations and refusals of ranges are taken over.
    pub fn apply(&mut self, now: u64, request: &Request, engine: &Answer) -> Answer {
        self.now = self.now.max(now);
        for project in self.projects.values_mut() {
            project.retries.retain(|_, (_, _, until)| *until > self.now);
            let late = u64::from(self.bug == Some(Bug::LapsesLate));
            let settled = self.now.saturating_sub(late);
            project.queues.values_mut().for_each(|queue| queue.settle(settled));
        }
        self.retries.retain(|_, (_, _, until)| *until > self.now);
        let of_group =
            matches!(request.command, Command::CreateProject { .. } | Command::DeleteProject);
        if let (Some(retry), true) = (&request.retry, of_group) {
            let key = (request.project.clone(), retry.key.to_string());
            if let Some((hash, outcome, _)) = self.retries.get(&key) {
                let same = *hash == retry.request_hash;
                return if same { Ok(outcome.clone()) } else { Err(Rejection::RetryKeyMismatch) };
            }
        } else if let (Some(retry), Some(project)) =
            (&request.retry, self.projects.get(&request.project))
        {
            if let Some((hash, outcome, _)) = project.retries.get(&*retry.key)
                && self.bug != Some(Bug::RetriesHappenAgain)
            {
                let same = *hash == retry.request_hash;
                return if same { Ok(outcome.clone()) } else { Err(Rejection::RetryKeyMismatch) };
            }
            let limit = project.quota.retry_keys_max;
            if project.retries.len() as u64 >= limit {
                return Err(Rejection::OverQuota { what: Quotum::RetryKeys, limit });
            }
        }
        // Every command but a transaction refuses before it changes anything. What was told stays
        // told: an id that was taken back names no reservation.
        let before = matches!(request.command, Command::Transaction { .. }).then(|| {
            let told = std::mem::take(&mut self.told);
            let before = self.clone();
            self.told = told;
            before
        });
        let answer = self.command(&request.project, &request.command, engine.as_ref().ok());
        match (&answer, &request.retry) {
            (Err(_), _) => {
                if let Some(before) = before {
                    let told = std::mem::take(&mut self.told);
                    *self = Reference { told, ..before };
                }
            }
            (Ok(outcome), Some(retry)) if of_group => {
                let key = (request.project.clone(), retry.key.to_string());
                let kept = (retry.request_hash, outcome.clone(), self.now + 86_400_000);
                self.retries.insert(key, kept);
            }
            (Ok(outcome), Some(retry)) => {
                if let Some(project) = self.projects.get_mut(&request.project) {
                    let kept = (retry.request_hash, outcome.clone(), self.now + 86_400_000);
                    project.retries.insert(retry.key.to_string(), kept);
                }
            }
            (Ok(_), None) => {}
        }
        answer
    }

    fn command(&mut self, id: &ProjectId, command: &Command, told: Option<&Outcome>) -> Answer {
        match command {
            Command::Tick | Command::Sweep => return Ok(Outcome::Done),
            Command::CreateProject { quota, .. } => {
                if self.projects.contains_key(id) {
                    return Err(Rejection::ProjectExists { project: id.clone() });
                }
                let (queues, tokens, retries) = Default::default();
                let project = Project { queues, quota: *quota, tokens, retries };
                self.projects.insert(id.clone(), project);
                return Ok(Outcome::ProjectCreated { id: id.clone() });
            }
            _ => {}
        }
        let Some(mut project) = self.projects.remove(id) else {
            return Err(Rejection::ProjectMissing { project: id.clone() });
        };
        let answer = match command {
            Command::DeleteProject => return Ok(Outcome::Done),
            Command::UpdateQuota { patch } => {
                project.quota = patch.apply_to(project.quota);
                Ok(Outcome::QuotaUpdated { quota: project.quota })
            }
            Command::CreateToken { token } => {
                let limit = project.quota.tokens_max;
                let has = |project: &Project| project.tokens.contains(&token.id);
                if has(&project) || self.projects.values().any(has) {
                    Err(Rejection::TokenExists { token: token.id.clone() })
                } else if project.tokens.len() as u64 >= limit {
                    Err(Rejection::OverQuota { what: Quotum::Tokens, limit })
                } else {
                    project.tokens.insert(token.id.clone());
                    Ok(Outcome::TokenCreated { id: token.id.clone() })
                }
            }
            Command::RevokeToken { id } if project.tokens.remove(id) => Ok(Outcome::Done),
            Command::RevokeToken { id } => Err(Rejection::TokenMissing { token: id.clone() }),
            Command::Transaction { commands } if commands.is_empty() => {
                Err(Rejection::CountOutOfRange {
                    what: Counted::Commands,
                    count: 0,
                    count_max: 100,
                })
            }
            Command::Transaction { commands } => {
                let told = match told {
                    Some(Outcome::Transacted { outcomes }) => outcomes.as_slice(),
                    _ => &[],
                };
                let each = commands.iter().enumerate();
                let outcomes: Result<Vec<Outcome>, Rejection> = each
                    .map(|(place, one)| self.queue_command(id, &mut project, one, told.get(place)))
                    .collect();
                outcomes.map(|outcomes| Outcome::Transacted { outcomes })
            }
            one => self.queue_command(id, &mut project, one, told),
        };
        self.projects.insert(id.clone(), project);
        answer
    }

    fn queue_command(
        &mut self,
        id: &ProjectId,
        project: &mut Project,
        command: &Command,
        told: Option<&Outcome>,
    ) -> Answer {
        crate::model::check_ranges(command)?;
        let (usage, quota, now) = (project.usage(), project.quota, self.now);
        let missing = |queue: &QueueName| Rejection::QueueMissing { queue: queue.clone() };
        match command {
            Command::PutQueue { queue, patch } => {
                let old = project.queues.get(queue);
                let mut settings = old.map(|old| old.settings.clone()).unwrap_or_default();
                let mut makes = old.is_none();
                if let Some(patch) = &patch.dead_letter {
                    settings.dead_letter = dead_letter(queue, settings.dead_letter, patch)?;
                    if let DeadLetterPatch::Set { queue: Some(target), .. } = patch {
                        makes |= !project.queues.contains_key(target);
                    }
                }
                if makes && usage.queues >= quota.queues_max {
                    let (what, limit) = (Quotum::Queues, quota.queues_max);
                    return Err(Rejection::OverQuota { what, limit });
                }
                let created = old.is_none();
                settings.message_timeout =
                    patch.message_timeout.unwrap_or(settings.message_timeout);
                settings.message_expiration =
                    patch.message_expiration.unwrap_or(settings.message_expiration);
                project.queues.entry(queue.clone()).or_default().settings = settings.clone();
                Ok(Outcome::QueuePut { settings, created })
            }
            Command::DeleteQueue { queue } => {
                project.queues.remove(queue).ok_or(missing(queue))?;
                Ok(Outcome::QueueDeleted)
            }
            Command::ClearQueue { queue } => {
                project.queues.get_mut(queue).ok_or(missing(queue))?.messages.clear();
                Ok(Outcome::Cleared)
            }
            Command::PostMessages { queue, messages } => {
                let bytes: u64 = messages.iter().map(|message| message.body.len() as u64).sum();
                let count = messages.len() as u64;
                let over = |what, limit| Err(Rejection::OverQuota { what, limit });
                if !project.queues.contains_key(queue) && usage.queues >= quota.queues_max {
                    return over(Quotum::Queues, quota.queues_max);
                }
                if count > 0 && usage.messages + count > quota.messages_max {
                    return over(Quotum::Messages, quota.messages_max);
                }
                if bytes > 0 && usage.bytes + bytes > quota.bytes_max {
                    return over(Quotum::Bytes, quota.bytes_max);
                }
                let queue = project.queues.entry(queue.clone()).or_default();
                Ok(Outcome::Posted { ids: messages.iter().map(|m| self.post(queue, m)).collect() })
            }
            Command::ReserveMessages { queue, count, timeout, delete } => {
                if !project.queues.contains_key(queue) {
                    return Err(missing(queue));
                }
                let told = match told {
                    Some(Outcome::Reserved { messages }) => messages.as_slice(),
                    _ => &[],
                };
                let messages = self.reserve(id, project, queue, (*count, *timeout, *delete), told);
                Ok(Outcome::Reserved { messages })
            }
            Command::AckMessage { queue, handle } => {
                let queue = project.queues.get_mut(queue).ok_or(missing(queue))?;
                let position = queue.position(handle.message)?;
                self.may_delete(id, &queue.messages[&position], handle)?;
                queue.messages.remove(&position);
                Ok(Outcome::Deleted { count: 1 })
            }
            Command::AckMessages { queue, handles } => {
                let queue = project.queues.get_mut(queue).ok_or(missing(queue))?;
                let mut gone = BTreeSet::new();
                for handle in handles {
                    if let Ok(position) = queue.position(handle.message) {
                        self.may_delete(id, &queue.messages[&position], handle)?;
                        gone.insert(position);
                    }
                }
                match handles.first() {
                    Some(first) if gone.is_empty() => {
                        return Err(Rejection::MessageMissing { message: first.message });
                    }
                    _ => {}
                }
                queue.messages.retain(|position, _| !gone.contains(position));
                Ok(Outcome::Deleted { count: gone.len() as u32 })
            }
            Command::TouchMessage { queue, message, reservation, timeout } => {
                let queue = project.queues.get_mut(queue).ok_or(missing(queue))?;
                let position = queue.position(*message)?;
                let settings = queue.settings.clone();
                let row = queue.messages.get_mut(&position).expect("just found");
                if !self.holds(id, row, *reservation) {
                    return Err(Rejection::ReservationStale { message: *message });
                }
                let (_, generation, touch) = row.held.expect("it is held");
                let until = now + timeout.unwrap_or(settings.message_timeout).0;
                row.held = Some((until, generation, touch.saturating_add(1)));
                row.count += 1;
                let Some(Outcome::Touched { reservation }) = told else {
                    return Ok(Outcome::Touched { reservation: ReservationId(0) });
                };
                self.told.insert((id.clone(), *message, *reservation));
                Ok(Outcome::Touched { reservation: named(generation, touch + 1, *reservation) })
            }
            Command::ReleaseMessage { queue, message, reservation, delay } => {
                let queue = project.queues.get_mut(queue).ok_or(missing(queue))?;
                let position = queue.position(*message)?;
                let row = queue.messages.get_mut(&position).expect("just found");
                if !self.holds(id, row, *reservation) {
                    return Err(Rejection::ReservationStale { message: *message });
                }
                row.held = None;
                row.delayed = (delay.0 > 0).then(|| now + delay.0);
                queue.settle(now);
                Ok(Outcome::Released)
            }
            Command::UndoReserve { queue, held } => {
                let queue = project.queues.get_mut(queue).ok_or(missing(queue))?;
                for held in held {
                    let Ok(position) = queue.position(held.message) else { continue };
                    let row = queue.messages.get_mut(&position).expect("just found");
                    let untouched = matches!(row.held, Some((_, _, 0)));
                    if untouched && self.holds(id, row, held.reservation) {
                        row.held = None;
                        row.count -= 1;
                        queue.settle(now);
                    }
                }
                Ok(Outcome::Released)
            }
            _ => Err(Rejection::TransactionMember),
        }
    }

    fn post(&mut self, queue: &mut Queue, new: &NewMessage) -> MessageId {
        let id = MessageId::new(GroupId(0), self.next_sequence);
        let message = Message {
            id,
            body: new.body.clone(),
            key: match self.bug {
                Some(Bug::KeysAreIgnored) => None,
                _ => new.ordering_key.as_ref().map(|key| key.as_str().into()),
            },
            count: 0,
            expires_at: life(self.now, new.expiration.unwrap_or(queue.settings.message_expiration)),
            delayed: (new.delay.0 > 0).then(|| self.now + new.delay.0),
            held: None,
        };
        queue.messages.insert(self.next_sequence, message);
        queue.total += 1;
        self.next_sequence += 1;
        id
    }

    fn reserve(
        &mut self,
        id: &ProjectId,
        project: &mut Project,
        name: &QueueName,
        (count, timeout, delete): (u32, Option<Millis>, bool),
        told: &[ReservedMessage],
    ) -> Vec<ReservedMessage> {
        let mut given = Vec::new();
        while given.len() < count as usize {
            let queue = project.queues.get_mut(name).expect("it was checked to be there");
            let settings = queue.settings.clone();
            let Some(position) = queue.ready().first().copied() else { break };
            let mut message = queue.messages.remove(&position).expect("it is ready");
            if let Some(set) = settings.dead_letter
                && message.count >= set.max_reservations
            {
                let target = project.queues.entry(set.queue).or_default();
                message.expires_at = life(self.now, target.settings.message_expiration);
                target.messages.insert(self.next_sequence, message);
                target.total += 1;
                self.next_sequence += 1;
                continue;
            }
            let generation = self.next_generation;
            self.next_generation += 1;
            message.count += 1;
            let mac = told.get(given.len()).map_or(ReservationId(0), |told| told.reservation);
            self.told.insert((id.clone(), message.id, mac));
            given.push(ReservedMessage {
                id: message.id,
                body: Some(message.body.clone()),
                reserved_count: message.count,
                reservation: named(generation, 0, mac),
            });
            if !delete {
                let until = self.now + timeout.unwrap_or(settings.message_timeout).0;
                message.held = Some((until, generation, 0));
                queue.messages.insert(position, message);
            }
        }
        given
    }

    fn holds(&self, id: &ProjectId, message: &Message, reservation: ReservationId) -> bool {
        let known = self.told.contains(&(id.clone(), message.id, reservation));
        let (generation, touch) = (reservation.generation(), reservation.touch());
        known && message.held.is_some_and(|held| generation == held.1 && touch <= held.2)
    }

    fn may_delete(&self, id: &ProjectId, row: &Message, handle: &Handle) -> Result<(), Rejection> {
        let message = handle.message;
        match (handle.reservation, row.held) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Rejection::ReservationRequired { message }),
            (Some(reservation), _) if self.holds(id, row, reservation) => Ok(()),
            (Some(_), _) => Err(Rejection::ReservationStale { message }),
        }
    }
}

/// The id with this generation and touch, and the engine's MAC.
fn named(generation: u64, touch: u16, engine: ReservationId) -> ReservationId {
    ReservationId::new(generation, touch, engine.mac())
}

fn dead_letter(
    name: &QueueName,
    before: Option<DeadLetter>,
    patch: &DeadLetterPatch,
) -> Result<Option<DeadLetter>, Rejection> {
    let DeadLetterPatch::Set { queue, max_reservations } = patch else { return Ok(None) };
    let kept = before.as_ref().map_or(10, |before| before.max_reservations);
    match queue.clone().or(before.map(|before| before.queue)) {
        None => Err(Rejection::DeadLetterUnnamed { queue: name.clone() }),
        Some(queue) if queue == *name => Err(Rejection::DeadLetterLoop { queue }),
        Some(queue) => {
            Ok(Some(DeadLetter { queue, max_reservations: max_reservations.unwrap_or(kept) }))
        }
    }
}
