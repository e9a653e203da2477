//! One node of a cluster, wired from its parts.
//!
//! Not here: files, sockets, HTTP, the command line, any decision about queues. Generic over the
//! world, so that production and simulation start and stop the same thing.

mod node;

pub use node::{Node, NodeOptions};
