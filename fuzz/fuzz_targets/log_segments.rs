//! Whole logs, synced, sealed and then damaged.
#![no_main]

bessemer_fuzz::target!(bessemer_log::fuzz::segments);
