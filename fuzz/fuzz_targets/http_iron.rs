//! Requests of old clients: `/3`.
#![no_main]

use bessemer_harness::{ADMIN, World};

bessemer_fuzz::target!(|input| {
    bessemer_gateway::fuzz::request(|| World::start().service, ADMIN, input);
});
