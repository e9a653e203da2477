//! Messages of peers.
#![no_main]

bessemer_fuzz::target!(bessemer_replica::fuzz::message);
