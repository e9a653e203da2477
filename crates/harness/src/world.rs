//! A node with its service and a project.

use std::sync::Arc;

use bessemer_model::{ProjectId, Quota};
use bessemer_service::{Options, Service};

use crate::node::TestNode;
use crate::runtime::TestRuntime;

/// The operator's token of every test world.
pub const ADMIN: &str = "the operator's token";

/// A node, its service (with the duty running), and a project `p`.
pub struct World {
    pub node: Arc<TestNode>,
    pub service: Arc<Service>,
    pub project: ProjectId,
}

impl World {
    pub fn start() -> World {
        World::with(Quota::default())
    }

    pub fn with(quota: Quota) -> World {
        let node = TestNode::new();
        let project = node.create_project("p", quota);
        let options = Options { admin_token: Some(ADMIN.into()), ..Options::default() };
        let (service, duty) = Service::new(node.clone(), TestRuntime::shared(), options);
        tokio::spawn(duty);
        World { node, service, project }
    }
}
