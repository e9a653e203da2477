//! The cluster itself, for its operator: how it is, and who is in it.

use std::time::Duration;

use bessemer_seam::consensus::{ClusterStatus, MembershipChange, MembershipError};

use crate::caller::Caller;
use crate::failure::ServiceError;
use crate::service::Service;

/// A joining node is fed the whole state first; the change is awaited this long.
const MEMBERSHIP_PATIENCE: Duration = Duration::from_secs(60);

impl Service {
    /// How this node sees the cluster now.
    pub fn cluster_status(&self, caller: &Caller) -> Result<ClusterStatus, ServiceError> {
        caller.may_operate()?;
        Ok(self.consensus.status())
    }

    /// Joins, removes or replaces a node, or hands leadership over. Refuses: `Membership`.
    pub async fn change_membership(
        &self,
        caller: &Caller,
        change: MembershipChange,
    ) -> Result<(), ServiceError> {
        caller.may_operate()?;
        let changed = self.consensus.change_membership(change, MEMBERSHIP_PATIENCE).await;
        changed.map_err(|error: MembershipError| ServiceError::Membership(error))
    }
}
