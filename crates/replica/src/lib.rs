//! Agreement: one node's replica of a group's log and state.
mod bytes;
mod codec;
mod event;
mod options;
mod types;
mod wire;
mod world;
