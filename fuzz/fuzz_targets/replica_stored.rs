//! Votes, memberships, records of snapshots, and what is known of peers.
#![no_main]

bessemer_fuzz::target!(bessemer_replica::fuzz::stored);
