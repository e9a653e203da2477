//! One command each.

pub mod bench;
pub mod cluster;
pub mod config;
pub mod dev;
pub mod node;
mod output;
pub mod project;
pub mod queue;
pub mod reference;
pub mod token;
