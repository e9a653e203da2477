//! Transactions: queue commands of one project, applied whole or not at all.

use bessemer_model::{Command, Outcome, ProjectId, Role};

use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::{Service, mismatched};

impl Service {
    /// Applies 1..=100 queue commands in order, or none of them; one outcome per command.
    ///
    /// The messages of a reserve inside are not given back when the reply is lost: they lapse. With
    /// a key the caller fetches the same outcome again.
    /// Refuses: `Forbidden` when any of them needs a role the caller has not, and the first
    /// rejection of any of them.
    pub async fn transact(
        &self,
        caller: &Caller,
        project: &ProjectId,
        commands: Vec<Command>,
        key: Option<&str>,
    ) -> Result<Vec<Outcome>, ServiceError> {
        caller.may(project, Role::Member)?;
        for command in &commands {
            caller.may(project, role_of(command))?;
        }
        match self.propose(project, Command::Transaction { commands }, key).await? {
            Outcome::Transacted { outcomes } => Ok(outcomes),
            _ => mismatched("Transaction"),
        }
    }
}

/// The role a member of a transaction needs. What may not be a member, the log rejects.
fn role_of(command: &Command) -> Role {
    match command {
        Command::DeleteQueue { .. } => Role::Owner,
        Command::InitGroup { .. }
        | Command::Tick
        | Command::Sweep
        | Command::CreateProject { .. }
        | Command::UpdateQuota { .. }
        | Command::DeleteProject
        | Command::CreateToken { .. }
        | Command::RevokeToken { .. }
        | Command::PutQueue { .. }
        | Command::PostMessages { .. }
        | Command::ReserveMessages { .. }
        | Command::AckMessage { .. }
        | Command::AckMessages { .. }
        | Command::TouchMessage { .. }
        | Command::ReleaseMessage { .. }
        | Command::UndoReserve { .. }
        | Command::ClearQueue { .. }
        | Command::Transaction { .. } => Role::Member,
    }
}
