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
    DEAD_LETTER_MOVES_MAX, PROJECT_RETRY_KEYS_MAX, RESERVE_BYTES_MAX, RESERVE_COUNT_MAX,
    RETRY_KEY_LIFE, TIMERS_PER_BATCH_MAX,
};
use bessemer_model::rejection::Quotum;
use bessemer_model::{
    Command, Millis, Outcome, ProjectId, QueueName, Quota, Rejection, Request, RetryKey, TokenId,
    Usage,
};

mod commands;
mod queue;

pub use queue::{Hold, Message, Queue};
use queue::{Undo, is_range_refusal};

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
