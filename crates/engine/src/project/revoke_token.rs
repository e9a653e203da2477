//! Revoke token: from the next command on, it opens nothing.

use bessemer_model::{Effect, Outcome, ProjectId, Rejection, TokenId};
use bessemer_seam::kv::{KvRead, Table};

use crate::fault::Refusal;
use crate::state::{OpenProject, State};
use crate::tables::project;

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    token: &TokenId,
) -> Result<Outcome, Refusal> {
    let project = check(state, project, token)?;
    change(state, project, token);
    Ok(tell())
}

fn check(state: &State, project: &ProjectId, token: &TokenId) -> Result<OpenProject, Refusal> {
    let project = state.project(project)?;
    let key = project::token_key(project.row.number, token);
    match state.rows.get(Table::Row, &key).map_err(crate::fault::Fault::from)? {
        Some(_) => Ok(project),
        None => Err(Rejection::TokenMissing { token: token.clone() }.into()),
    }
}

fn change(state: &mut State, mut project: OpenProject, token: &TokenId) {
    state.rows.delete(Table::Row, project::token_key(project.row.number, token));
    state.rows.delete(Table::Row, project::owner_key(token));
    project.row.usage.tokens -= 1;
    state.save_project(&project);
    let token = token.clone();
    state.effects.add(Effect::TokenRevoked { project: project.id, token });
}

fn tell() -> Outcome {
    Outcome::Done
}
