//! How the client commands and the bench reach a cluster.
//!
//! Not here: what they ask for. Knows HTTP and JSON, nothing of what runs in a node.

pub mod access;
pub mod cluster_file;
pub mod connection;
pub mod session;
