//! Requests inside an entry.
#![no_main]

bessemer_fuzz::target!(bessemer_engine::fuzz::request);
