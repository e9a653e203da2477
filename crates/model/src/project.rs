//! Projects: the unit of isolation, of quotas, and of sharding.

/// What a project may hold and do. Over a bound, a growing command is rejected with `OverQuota`;
/// acks, deletes and releases always go on. Source: design P12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Bytes of message bodies.
    pub bytes_max: u64,
    pub messages_max: u64,
    pub queues_max: u64,
    /// Outcomes kept for keyed requests (24 h of log time each).
    pub retry_keys_max: u64,
    pub tokens_max: u64,
    /// Long polls that wait at once, on one node.
    pub waiters_max: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            bytes_max: 16 << 30,
            messages_max: 10_000_000,
            queues_max: 10_000,
            retry_keys_max: 1_000_000,
            tokens_max: 1_000,
            waiters_max: 20_000,
        }
    }
}

/// What a project holds now; each field is bounded by the field of the same name in `Quota`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub bytes: u64,
    pub messages: u64,
    pub queues: u64,
    pub retry_keys: u64,
    pub tokens: u64,
}
