//! Update quota: changes a project's limits. What is already over a new limit stays.

use bessemer_model::{Outcome, ProjectId, Quota};

use crate::fault::Refusal;
use crate::state::{OpenProject, State};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    quota: Quota,
) -> Result<Outcome, Refusal> {
    let project = check(state, project)?;
    change(state, project, quota);
    Ok(tell())
}

fn check(state: &State, project: &ProjectId) -> Result<OpenProject, Refusal> {
    state.project(project)
}

fn change(state: &mut State, mut project: OpenProject, quota: Quota) {
    project.row.quota = quota;
    state.save_project(&project);
}

fn tell() -> Outcome {
    Outcome::Done
}
