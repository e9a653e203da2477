//! Commands: everything the log can be asked to do. Each is O(request) to apply.

use crate::access::TokenRecord;
use crate::ids::{MessageId, ProjectId, QueueName, ReservationId, TokenId};
use crate::project::{Quota, QuotaPatch};
use crate::queue::{Handle, Held, NewMessage, QueuePatch};
use crate::units::Millis;

/// A command of one project, as it travels to the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The one project it touches. Commands of the group itself name the empty project.
    pub project: ProjectId,
    pub retry: Option<RetryKey>,
    pub command: Command,
}

/// Makes a request safe to send again: the same key within 24 h gets the same outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryKey {
    /// 1..=255 bytes, unique in the project.
    pub key: Box<str>,
    /// Hash of the request; the same key with another hash is rejected.
    pub request_hash: [u8; 16],
}

/// One thing to do. The comment names the outcome and what may be rejected, in check order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// First entry of every group: version, and the secret that keys reservation ids. Applied once.
    InitGroup { cluster_version: u32, secret: [u8; 32] },
    /// Lets log time pass: settles due timers. Proposed by the leader when a deadline is due.
    Tick,
    /// Removes up to `SWEEP_ROWS_MAX` rows of ended stores.
    Sweep,

    /// → `ProjectCreated`. `InvalidName`, `ProjectExists`.
    CreateProject { name: Box<str>, quota: Quota },
    /// Changes the given bounds and no other. → `QuotaUpdated`. `ProjectMissing`.
    UpdateQuota { patch: QuotaPatch },
    /// → `Done`, with all its queues and tokens. `ProjectMissing`.
    DeleteProject,
    /// → `TokenCreated`. `ProjectMissing`, `TokenExists`, `OverQuota`.
    CreateToken { token: TokenRecord },
    /// → `Done`. `ProjectMissing`, `TokenMissing`.
    RevokeToken { id: TokenId },

    /// Creates the queue or changes the given settings of it. → `QueuePut`.
    PutQueue { queue: QueueName, patch: QueuePatch },
    /// → `QueueDeleted`. `QueueMissing`.
    DeleteQueue { queue: QueueName },
    /// Appends messages in order, making the queue if it is missing. → `Posted`.
    PostMessages { queue: QueueName, messages: Vec<NewMessage> },
    /// Reserves up to `count` (1..=100) startable messages, oldest first; moves dead letters on
    /// the way. With `delete` they are removed at once. → `Reserved`, empty when none is ready.
    ReserveMessages { queue: QueueName, count: u32, timeout: Option<Millis>, delete: bool },
    /// Acknowledges a reserved message, or deletes a free one. → `Deleted`.
    AckMessage { queue: QueueName, handle: Handle },
    /// The same for 0..=100 messages, all or none; those already gone are skipped, unless all are.
    AckMessages { queue: QueueName, handles: Vec<Handle> },
    /// Lengthens a reservation and counts it once more. → `Touched`.
    TouchMessage {
        queue: QueueName,
        message: MessageId,
        reservation: ReservationId,
        timeout: Option<Millis>,
    },
    /// Gives a reserved message back, to its old place, after `delay`. → `Released`.
    ReleaseMessage {
        queue: QueueName,
        message: MessageId,
        reservation: ReservationId,
        delay: Millis,
    },
    /// Takes back a reserve of 1..=100 messages whose reply reached nobody: those still held and
    /// never touched are free again at their old place, and that reservation counts no more; the
    /// others are left as they are. → `Released`. Never asked for by a client.
    UndoReserve { queue: QueueName, held: Vec<Held> },
    /// Removes every message, reserved and delayed ones too. → `Cleared`.
    ClearQueue { queue: QueueName },

    /// 1..=100 queue commands, applied whole or not at all. → `Transacted`, or the first
    /// rejection. Never nested.
    Transaction { commands: Vec<Command> },
}

impl Command {
    /// Whether applying it can make the state larger: such commands are refused when the disk or
    /// a quota is full, while the others go on.
    pub fn grows(&self) -> bool {
        match self {
            Command::PostMessages { .. }
            | Command::PutQueue { .. }
            | Command::CreateProject { .. }
            | Command::CreateToken { .. } => true,
            Command::Transaction { commands } => commands.iter().any(Command::grows),
            Command::InitGroup { .. }
            | Command::Tick
            | Command::Sweep
            | Command::UpdateQuota { .. }
            | Command::DeleteProject
            | Command::RevokeToken { .. }
            | Command::DeleteQueue { .. }
            | Command::ReserveMessages { .. }
            | Command::AckMessage { .. }
            | Command::AckMessages { .. }
            | Command::TouchMessage { .. }
            | Command::ReleaseMessage { .. }
            | Command::UndoReserve { .. }
            | Command::ClearQueue { .. } => false,
        }
    }
}
