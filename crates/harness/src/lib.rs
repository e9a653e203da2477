//! One node that agrees with itself at once, with its service: for tests of use cases and doors.
//!
//! Not here: agreement between nodes, which is tested with `replica` and the simulator.

mod node;
mod runtime;
mod world;

pub use node::TestNode;
pub use runtime::TestRuntime;
pub use world::{ADMIN, World};
