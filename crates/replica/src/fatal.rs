//! The end of a replica: the first error it cannot go on after, for whoever owns the process.
//!
//! Not here: stopping. The program ends the process; a replica with an error never limps on.

use std::error::Error;
use std::sync::Mutex;

use crate::event::{Event, lock};

/// An error with all that caused it.
pub(crate) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Keeps the first error.
#[derive(Default)]
pub(crate) struct Fatal {
    first: Mutex<Option<String>>,
    event: Event,
}

impl Fatal {
    pub fn report(&self, what: impl std::fmt::Display) {
        let text = what.to_string();
        tracing::error!(error = %text, "the replica cannot go on");
        lock(&self.first).get_or_insert(text);
        self.event.notify();
    }

    pub fn get(&self) -> Option<String> {
        lock(&self.first).clone()
    }

    /// Completes with the first error, if ever.
    pub async fn wait(&self) -> String {
        loop {
            let listener = self.event.listen();
            if let Some(text) = self.get() {
                return text;
            }
            listener.await;
        }
    }
}
