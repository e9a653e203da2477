//! Who leads, as this node knows it.
//!
//! Not here: elections (openraft). Written by the role task, read by everyone.

use std::sync::Mutex;
use std::time::Duration;

use bessemer_model::NodeId;

use crate::event::{Event, lock};

/// One moment's knowledge.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Role {
    pub leader: Option<NodeId>,
    /// Where the leader's peer door is; empty when the leader is this node or unknown.
    pub leader_address: String,
    pub term: u64,
    /// This node leads.
    pub leading: bool,
    /// When this began, by the node's elapsed time.
    pub since: Duration,
    /// Grows with each change of the above.
    pub generation: u64,
}

#[derive(Default)]
pub(crate) struct RoleCell {
    role: Mutex<Role>,
    /// Notified after each change.
    pub changed: Event,
}

impl RoleCell {
    pub fn get(&self) -> Role {
        lock(&self.role).clone()
    }

    pub fn leading(&self) -> bool {
        lock(&self.role).leading
    }

    /// Takes over what is new; true when something was.
    pub fn set(&self, new: Role) -> bool {
        {
            let mut role = lock(&self.role);
            let Role { since, generation, .. } = *role;
            let same = Role { since, generation, ..new.clone() } == *role;
            if same {
                return false;
            }
            *role = Role { generation: role.generation + 1, ..new };
        }
        self.changed.notify();
        true
    }
}
