//! Transactions: queue commands of one project, applied whole or not at all.
//!
//! Not here: what each command does.
//! Invariant: after a rejection, rows, counters, caches and effects are those before it.

use bessemer_model::limits::TRANSACTION_COUNT_MAX;
use bessemer_model::rejection::Counted;
use bessemer_model::{Command, Outcome, ProjectId, Rejection};
use bessemer_seam::mutants::{self, Mutant};

use crate::apply::{apply_queue_command, is_queue_command};
use crate::fault::Refusal;
use crate::state::State;

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    commands: Vec<Command>,
) -> Result<Outcome, Refusal> {
    check(state, project, &commands)?;
    let outcomes = change(state, project, commands)?;
    Ok(tell(outcomes))
}

fn check(state: &State, project: &ProjectId, commands: &[Command]) -> Result<(), Refusal> {
    state.project(project)?;
    if !(1..=TRANSACTION_COUNT_MAX).contains(&commands.len()) {
        let (count, count_max) = (commands.len() as u64, TRANSACTION_COUNT_MAX as u64);
        let what = Counted::Commands;
        return Err(Rejection::CountOutOfRange { what, count, count_max }.into());
    }
    if !commands.iter().all(is_queue_command) {
        return Err(Rejection::TransactionMember.into());
    }
    Ok(())
}

/// Each command sees what those before it changed, so it alone can tell whether it is refused:
/// the first refusal takes everything back.
fn change(
    state: &mut State,
    project: &ProjectId,
    commands: Vec<Command>,
) -> Result<Vec<Outcome>, Refusal> {
    state.mark();
    let mut outcomes = Vec::with_capacity(commands.len());
    let mut torn = None;
    for command in commands {
        match apply_queue_command(state, project, command) {
            Ok(outcome) => outcomes.push(outcome),
            Err(refusal) if mutants::on(Mutant::KafkaTornTransaction) => torn = Some(refusal),
            Err(refusal) => {
                state.rollback();
                return Err(refusal);
            }
        }
    }
    state.keep();
    torn.map_or(Ok(outcomes), Err)
}

fn tell(outcomes: Vec<Outcome>) -> Outcome {
    Outcome::Transacted { outcomes }
}
