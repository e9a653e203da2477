//! Entries of the log and their parts.
#![no_main]

bessemer_fuzz::target!(bessemer_engine::fuzz::entry);
