//! Update quota: changes some of a project's limits. What is already over a new limit stays.
//!
//! Invariant: a limit that is not named stays as it is, whatever came in between.

use bessemer_model::{Outcome, ProjectId, Quota, QuotaPatch};

use crate::fault::Refusal;
use crate::state::{OpenProject, State};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    patch: QuotaPatch,
) -> Result<Outcome, Refusal> {
    let project = check(state, project)?;
    let quota = patch.apply_to(project.row.quota);
    change(state, project, quota);
    Ok(tell(quota))
}

fn check(state: &State, project: &ProjectId) -> Result<OpenProject, Refusal> {
    state.project(project)
}

fn change(state: &mut State, mut project: OpenProject, quota: Quota) {
    project.row.quota = quota;
    state.save_project(&project);
}

fn tell(quota: Quota) -> Outcome {
    Outcome::QuotaUpdated { quota }
}
