//! Records of the log: bodies and frames.
#![no_main]

bessemer_fuzz::target!(bessemer_log::fuzz::record);
