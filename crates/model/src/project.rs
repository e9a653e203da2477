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

/// Changes to a quota; `None` leaves a bound as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QuotaPatch {
    pub bytes_max: Option<u64>,
    pub messages_max: Option<u64>,
    pub queues_max: Option<u64>,
    pub retry_keys_max: Option<u64>,
    pub tokens_max: Option<u64>,
    pub waiters_max: Option<u64>,
}

impl QuotaPatch {
    /// `quota` with the given bounds changed.
    pub fn apply_to(&self, quota: Quota) -> Quota {
        Quota {
            bytes_max: self.bytes_max.unwrap_or(quota.bytes_max),
            messages_max: self.messages_max.unwrap_or(quota.messages_max),
            queues_max: self.queues_max.unwrap_or(quota.queues_max),
            retry_keys_max: self.retry_keys_max.unwrap_or(quota.retry_keys_max),
            tokens_max: self.tokens_max.unwrap_or(quota.tokens_max),
            waiters_max: self.waiters_max.unwrap_or(quota.waiters_max),
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
