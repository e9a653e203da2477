//! openraft's entries as records of the log.
#![no_main]

bessemer_fuzz::target!(bessemer_replica::fuzz::record);
