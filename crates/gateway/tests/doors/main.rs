//! The doors from outside: real sockets, raw bytes, a real engine behind them.

mod client;
mod connections;
mod iron_bad_input;
mod iron_messages;
mod iron_queues;
mod iron_quirks;
mod native;
mod ops;
mod proto;
mod refusals;
mod retry_keys;
