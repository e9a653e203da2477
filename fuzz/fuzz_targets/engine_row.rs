//! Rows of the state, and the keys of timers.
#![no_main]

bessemer_fuzz::target!(bessemer_engine::fuzz::row);
