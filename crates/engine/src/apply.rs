//! From a request to its verb: one arm a command.
//!
//! Not here: what a verb does; lanes and time (`engine.rs`).

use bessemer_model::{Command, Outcome, ProjectId, Rejection, Request};

use crate::fault::{Fault, Refusal};
use crate::queue::release::Release;
use crate::queue::reserve::Wish;
use crate::queue::touch::Touch;
use crate::retry::Keeper;
use crate::state::{Allowance, State};
use crate::{group, project, queue, retry, transaction};

/// Applies one request: its outcome, or the rejection after which nothing has changed.
pub(crate) fn apply_request(
    state: &mut State,
    request: Request,
) -> Result<Result<Outcome, Rejection>, Fault> {
    state.allowance = Allowance::FULL;
    match run(state, request) {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(Refusal::Rejected(rejection)) => Ok(Err(rejection)),
        Err(Refusal::Fault(fault)) => Err(fault),
    }
}

fn run(state: &mut State, request: Request) -> Result<Outcome, Refusal> {
    let Request { project, retry, command } = request;
    let Some(retry) = retry else { return apply_command(state, &project, command) };
    let keeper = Keeper::of(&command);
    if let Some(outcome) = retry::check(state, keeper, &project, &retry)? {
        return Ok(outcome);
    }
    let outcome = apply_command(state, &project, command)?;
    retry::change(state, keeper, &project, &retry, &outcome)?;
    Ok(outcome)
}

fn apply_command(
    state: &mut State,
    project: &ProjectId,
    command: Command,
) -> Result<Outcome, Refusal> {
    match command {
        Command::InitGroup { cluster_version, secret } => {
            group::init::apply(state, cluster_version, secret)
        }
        // What it is for has been done before the entry's first command.
        Command::Tick => Ok(Outcome::Done),
        Command::Sweep => group::sweep::apply(state),
        Command::CreateProject { name, quota } => {
            project::create::apply(state, project, name, quota)
        }
        Command::UpdateQuota { patch } => project::update_quota::apply(state, project, patch),
        Command::DeleteProject => project::delete::apply(state, project),
        Command::CreateToken { token } => project::create_token::apply(state, project, &token),
        Command::RevokeToken { id } => project::revoke_token::apply(state, project, &id),
        Command::Transaction { commands } => transaction::apply(state, project, commands),
        Command::PutQueue { .. }
        | Command::DeleteQueue { .. }
        | Command::PostMessages { .. }
        | Command::ReserveMessages { .. }
        | Command::AckMessage { .. }
        | Command::AckMessages { .. }
        | Command::TouchMessage { .. }
        | Command::ReleaseMessage { .. }
        | Command::UndoReserve { .. }
        | Command::ClearQueue { .. } => apply_queue_command(state, project, command),
    }
}

/// Whether a transaction may hold the command.
pub(crate) fn is_queue_command(command: &Command) -> bool {
    match command {
        Command::PutQueue { .. }
        | Command::DeleteQueue { .. }
        | Command::PostMessages { .. }
        | Command::ReserveMessages { .. }
        | Command::AckMessage { .. }
        | Command::AckMessages { .. }
        | Command::TouchMessage { .. }
        | Command::ReleaseMessage { .. }
        | Command::UndoReserve { .. }
        | Command::ClearQueue { .. } => true,
        Command::InitGroup { .. }
        | Command::Tick
        | Command::Sweep
        | Command::CreateProject { .. }
        | Command::UpdateQuota { .. }
        | Command::DeleteProject
        | Command::CreateToken { .. }
        | Command::RevokeToken { .. }
        | Command::Transaction { .. } => false,
    }
}

pub(crate) fn apply_queue_command(
    state: &mut State,
    project: &ProjectId,
    command: Command,
) -> Result<Outcome, Refusal> {
    match command {
        Command::PutQueue { queue, patch } => queue::put::apply(state, project, queue, &patch),
        Command::DeleteQueue { queue } => queue::delete::apply(state, project, &queue),
        Command::PostMessages { queue, messages } => {
            queue::post::apply(state, project, queue, messages)
        }
        Command::ReserveMessages { queue, count, timeout, delete } => {
            queue::reserve::apply(state, project, &queue, &Wish { count, timeout, delete })
        }
        Command::AckMessage { queue, handle } => queue::ack::apply(state, project, &queue, handle),
        Command::AckMessages { queue, handles } => {
            queue::ack_many::apply(state, project, &queue, &handles)
        }
        Command::TouchMessage { queue, message, reservation, timeout } => {
            let touch = Touch { message, reservation, timeout };
            queue::touch::apply(state, project, &queue, &touch)
        }
        Command::ReleaseMessage { queue, message, reservation, delay } => {
            let release = Release { message, reservation, delay };
            queue::release::apply(state, project, &queue, &release)
        }
        Command::UndoReserve { queue, held } => queue::undo::apply(state, project, &queue, &held),
        Command::ClearQueue { queue } => queue::clear::apply(state, project, &queue),
        Command::InitGroup { .. }
        | Command::Tick
        | Command::Sweep
        | Command::CreateProject { .. }
        | Command::UpdateQuota { .. }
        | Command::DeleteProject
        | Command::CreateToken { .. }
        | Command::RevokeToken { .. }
        | Command::Transaction { .. } => Err(Rejection::TransactionMember.into()),
    }
}
