//! Create project.
//!
//! Not here: minting the id. Invariant: a project made again under an old id shares nothing with
//! the one before, since its rows are named by a number that is never reused.

use bessemer_model::limits::{PROJECT_ID_BYTES_MAX, PROJECT_NAME_BYTES_MAX};
use bessemer_model::rejection::Named;
use bessemer_model::{Outcome, ProjectId, Quota, Rejection, Usage};

use crate::fault::Refusal;
use crate::queue::check_length;
use crate::state::{OpenProject, State};
use crate::tables::project::ProjectRow;

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    name: Box<str>,
    quota: Quota,
) -> Result<Outcome, Refusal> {
    check(state, project, &name)?;
    change(state, project, name, quota);
    Ok(tell(project))
}

fn check(state: &State, project: &ProjectId, name: &str) -> Result<(), Refusal> {
    check_length(Named::ProjectId, project.as_str(), PROJECT_ID_BYTES_MAX)?;
    check_length(Named::ProjectName, name, PROJECT_NAME_BYTES_MAX)?;
    match state.find_project(project)? {
        Some(_) => Err(Rejection::ProjectExists { project: project.clone() }.into()),
        None => Ok(()),
    }
}

fn change(state: &mut State, project: &ProjectId, name: Box<str>, quota: Quota) {
    let number = state.core.next_project;
    state.core.next_project += 1;
    let row = ProjectRow { number, name, quota, usage: Usage::default() };
    state.save_project(&OpenProject { id: project.clone(), row });
}

fn tell(project: &ProjectId) -> Outcome {
    Outcome::ProjectCreated { id: project.clone() }
}
