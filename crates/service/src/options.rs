//! What the operator decides about the use cases. Read once, at start.

use std::time::Duration;

/// Options of a `Service`.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The operator's token; `None` lets nobody in as the operator. Never written to the log.
    pub admin_token: Option<String>,
    /// How long a request may wait for its outcome before it is unknown.
    pub patience: Duration,
    /// Long polls that may wait at once on this node, over all projects.
    pub waiters_max: usize,
    /// Token records kept in memory.
    pub tokens_cached_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            admin_token: None,
            patience: Duration::from_secs(10),
            waiters_max: 50_000,
            tokens_cached_max: 10_000,
        }
    }
}

/// Hides the secret.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("admin_token", &self.admin_token.as_ref().map(|_| "…"))
            .field("patience", &self.patience)
            .field("waiters_max", &self.waiters_max)
            .field("tokens_cached_max", &self.tokens_cached_max)
            .finish()
    }
}
