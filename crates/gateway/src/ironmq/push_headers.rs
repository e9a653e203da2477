//! `push_headers` of a message, and the rules they must keep. Source: ironmq-v3.md 6.3.
//!
//! Not here: sending them. Pull queues have no use for them.

use std::collections::BTreeMap;

use serde::Deserialize;

const HEADERS_MAX: usize = 5;
const NAME_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1024;
/// Set by the server alone.
const RESERVED: [&str; 6] = [
    "Content-Type",
    "User-Agent",
    "Iron-Message-Id",
    "Iron-Reservation-Id",
    "Iron-Subscriber-Name",
    "Iron-Subscriber-Message-Url",
];

/// Headers by name, as they were sent.
#[derive(Deserialize, Default)]
#[serde(transparent)]
pub(super) struct PushHeaders(BTreeMap<String, String>);

impl PushHeaders {
    /// The first rule that is broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.0.len() > HEADERS_MAX {
            return Err("push_headers has more than 5 headers");
        }
        for (name, value) in &self.0 {
            if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
                return Err("the name of a push header has 1 to 64 bytes");
            }
            if !(1..=VALUE_BYTES_MAX).contains(&value.len()) {
                return Err("the value of a push header has 1 to 1024 bytes");
            }
            if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
                return Err("push_headers names a header that only the server sets");
            }
        }
        Ok(())
    }
}
