//! Queues: create or change, look, list, delete.

use bessemer_engine::read;
use bessemer_model::{
    Command, Outcome, ProjectId, QueueName, QueuePatch, QueueSettings, Rejection, Role,
};
use bessemer_seam::kv::KvRead;

use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::{Freshness, Service, mismatched, project_missing};

/// A queue as it is looked at: settings and counts.
pub use bessemer_engine::read::QueueInfo as QueueView;

/// A page of queue names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListQueues {
    /// Names strictly greater than this, in byte order; empty begins at the first.
    pub previous: String,
    /// Names that begin with this; empty takes all.
    pub prefix: String,
    /// 1..=100; the door checks.
    pub per_page: u32,
}

impl Service {
    /// Creates the queue or changes the given settings of it. Tells whether it was created.
    pub async fn put_queue(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        patch: QueuePatch,
        key: Option<&str>,
    ) -> Result<(QueueSettings, bool), ServiceError> {
        caller.may(project, Role::Member)?;
        match self.propose(project, Command::PutQueue { queue, patch }, key).await? {
            Outcome::QueuePut { settings, created } => Ok((settings, created)),
            _ => mismatched("PutQueue"),
        }
    }

    /// Deletes the queue with all its messages. Needs the role of an owner.
    pub async fn delete_queue(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        key: Option<&str>,
    ) -> Result<(), ServiceError> {
        caller.may(project, Role::Owner)?;
        match self.propose(project, Command::DeleteQueue { queue }, key).await? {
            Outcome::QueueDeleted => Ok(()),
            _ => mismatched("DeleteQueue"),
        }
    }

    /// The queue's settings and counts.
    pub async fn queue(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: &QueueName,
        freshness: Freshness,
    ) -> Result<QueueView, ServiceError> {
        caller.may(project, Role::Reader)?;
        let view = self.view(freshness).await?;
        self.project_exists(view.as_ref(), project)?;
        let found = read::queue_info(view.as_ref(), project, queue)?;
        Ok(found.ok_or_else(|| Rejection::QueueMissing { queue: queue.clone() })?)
    }

    /// A page of the project's queue names, ascending in byte order.
    pub async fn list_queues(
        &self,
        caller: &Caller,
        project: &ProjectId,
        page: &ListQueues,
        freshness: Freshness,
    ) -> Result<Vec<QueueName>, ServiceError> {
        caller.may(project, Role::Reader)?;
        let view = self.view(freshness).await?;
        self.project_exists(view.as_ref(), project)?;
        let ListQueues { previous, prefix, per_page } = page;
        Ok(read::list_queues(view.as_ref(), project, previous, prefix, *per_page)?)
    }

    /// Refuses with `ProjectMissing` as the log would.
    pub(crate) fn project_exists(
        &self,
        view: &dyn KvRead,
        project: &ProjectId,
    ) -> Result<(), ServiceError> {
        match read::project(view, project)? {
            Some(_) => Ok(()),
            None => Err(project_missing(project)),
        }
    }
}
