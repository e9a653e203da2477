//! Verbs of projects and their tokens, one a file.
//!
//! Not here: queues; who may do it (the use cases).

pub(crate) mod create;
pub(crate) mod create_token;
pub(crate) mod delete;
pub(crate) mod revoke_token;
pub(crate) mod update_quota;
