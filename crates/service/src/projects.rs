//! Projects: create, look, list, change the quota, delete. For the operator, but for looking.

use bessemer_engine::read;
use bessemer_model::{Command, Outcome, ProjectId, Quota, QuotaPatch, Rejection, Role, Usage};

use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::{Freshness, Service, mismatched, project_missing};

/// Ids minted before giving up: one is enough but for a broken source of chance.
const MINTS_MAX: usize = 3;

/// A project as it is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectView {
    pub id: ProjectId,
    pub name: Box<str>,
    pub quota: Quota,
    pub usage: Usage,
}

/// A project in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectListing {
    pub id: ProjectId,
    pub name: Box<str>,
}

impl Service {
    /// Creates a project under the given `id`, or under a new one of 24 hex digits. A new one is
    /// derived from the key, if there is one, so that a retry finds the same project.
    /// Refuses: `LengthOutOfRange` unless a given id has 1..=64 bytes, `ProjectExists`.
    pub async fn create_project(
        &self,
        caller: &Caller,
        given: Option<ProjectId>,
        name: &str,
        quota: Quota,
        key: Option<&str>,
    ) -> Result<ProjectId, ServiceError> {
        caller.may_operate()?;
        let mut mints_left = MINTS_MAX;
        loop {
            let id = match (&given, key) {
                (Some(id), _) => id.clone(),
                (None, Some(key)) => project_of_key(key),
                (None, None) => self.mint_project(),
            };
            let command = Command::CreateProject { name: name.into(), quota };
            match self.propose(&id, command, key).await {
                Ok(Outcome::ProjectCreated { id }) => return Ok(id),
                Ok(_) => mismatched("CreateProject"),
                Err(ServiceError::Rejected(Rejection::ProjectExists { .. }))
                    if given.is_none() && key.is_none() && mints_left > 1 =>
                {
                    mints_left -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A project with its quota and what it holds now.
    pub async fn project(
        &self,
        caller: &Caller,
        id: &ProjectId,
        freshness: Freshness,
    ) -> Result<ProjectView, ServiceError> {
        caller.may(id, Role::Reader)?;
        let view = self.view(freshness).await?;
        let found = read::project(view.as_ref(), id)?.ok_or_else(|| project_missing(id))?;
        let id = id.clone();
        Ok(ProjectView { id, name: found.name, quota: found.quota, usage: found.usage })
    }

    /// A page of projects with ids strictly greater than `previous`, ascending.
    pub async fn list_projects(
        &self,
        caller: &Caller,
        previous: &str,
        per_page: u32,
        freshness: Freshness,
    ) -> Result<Vec<ProjectListing>, ServiceError> {
        caller.may_operate()?;
        let view = self.view(freshness).await?;
        let found = read::list_projects(view.as_ref(), previous, per_page)?;
        Ok(found.into_iter().map(|info| ProjectListing { id: info.id, name: info.name }).collect())
    }

    /// Changes the given bounds and no other; gives the whole quota.
    pub async fn update_quota(
        &self,
        caller: &Caller,
        id: &ProjectId,
        patch: QuotaPatch,
        key: Option<&str>,
    ) -> Result<Quota, ServiceError> {
        caller.may_operate()?;
        match self.propose(id, Command::UpdateQuota { patch }, key).await? {
            Outcome::QuotaUpdated { quota } => Ok(quota),
            _ => mismatched("UpdateQuota"),
        }
    }

    /// Deletes the project with all its queues and tokens.
    pub async fn delete_project(
        &self,
        caller: &Caller,
        id: &ProjectId,
        key: Option<&str>,
    ) -> Result<(), ServiceError> {
        caller.may_operate()?;
        let outcome = self.propose(id, Command::DeleteProject, key).await?;
        self.tokens.forget_all();
        match outcome {
            Outcome::Done => Ok(()),
            _ => mismatched("DeleteProject"),
        }
    }

    fn mint_project(&self) -> ProjectId {
        let (high, low) = (self.runtime.random(), self.runtime.random());
        ProjectId::new(format!("{high:016x}{:08x}", low as u32))
    }
}

/// 96 bits of a hash of `key`, as 24 hex digits.
fn project_of_key(key: &str) -> ProjectId {
    let hash = blake3::derive_key("Bessemer 2025 project id of an idempotency key", key.as_bytes());
    ProjectId::new(hash[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
