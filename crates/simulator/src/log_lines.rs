//! What openraft and our crates log, printed with virtual time: for reading one seed closely.
//!
//! Not here: the trace. Log lines are never part of its hash: they show real instants.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::runtime::Sim;

/// Prints every event up to `level` to standard error.
struct Lines {
    level: Level,
}

/// Collects the fields of an event, the message first.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let place = Sim::try_here().map_or_else(String::new, |(now, node)| {
            format!("{:>5}.{:06} {node}", now.as_secs(), now.subsec_micros())
        });
        let metadata = event.metadata();
        eprintln!(
            "{place} {} {}: {}{}",
            metadata.level(),
            metadata.target(),
            text.message,
            text.fields
        );
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Runs `work` with log lines up to `level` on standard error.
pub fn with_log<T>(level: Level, work: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(Lines { level }, work)
}
