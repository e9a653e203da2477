//! Delete project: ends it with all its queues, tokens and retry keys, at constant cost.
//!
//! Not here: the removal of their rows (`group/sweep.rs`).
//! Invariant: from the next command on, nothing of the project can be reached.

use bessemer_model::{Effect, Outcome, ProjectId};
use bessemer_seam::kv::Table;

use crate::fault::Refusal;
use crate::state::{OpenProject, State};
use crate::tables::garbage::{self, ProjectGarbage};
use crate::tables::{number_key, project, queue, retry};

pub(crate) fn apply(state: &mut State, project: &ProjectId) -> Result<Outcome, Refusal> {
    let project = check(state, project)?;
    change(state, project);
    Ok(tell())
}

fn check(state: &State, project: &ProjectId) -> Result<OpenProject, Refusal> {
    state.project(project)
}

fn change(state: &mut State, project: OpenProject) {
    let number = project.row.number;
    state.rows.delete(Table::Row, project::key(&project.id));
    let garbage = ProjectGarbage {
        project: project.id.as_str().into(),
        queues_from: queue::prefix(number),
        tokens_from: number_key(b'Z', number),
        retries_from: retry::prefix(number),
    };
    state.rows.insert(Table::Row, garbage::project_key(number), garbage.encode());
    state.core.garbage_projects += 1;
    state.effects.add(Effect::GarbageLeft);
}

fn tell() -> Outcome {
    Outcome::Done
}
