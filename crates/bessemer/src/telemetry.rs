//! Where log lines go and how they look.
//!
//! Not here: metrics (crate `gateway`, ops door).
//! Each line says what happened, to what; errors are logged once, where they are handled.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::exit::{Exit, ended};

/// Starts logging for the life of the process. `level` is `info` or `info,target=debug,…`;
/// an empty `file` means standard error. Call once.
pub fn start(format: LogFormat, level: &str, file: &Path) -> anyhow::Result<()> {
    let filter: Targets = level
        .parse()
        .map_err(|e| ended(Exit::Usage, format!("log_level {level:?} is not understood: {e}")))?;
    let writer = if file.as_os_str().is_empty() {
        BoxMakeWriter::new(std::io::stderr)
    } else {
        let open = OpenOptions::new().create(true).append(true).open(file);
        BoxMakeWriter::new(Mutex::new(
            open.with_context(|| format!("cannot write the log file {}", file.display()))?,
        ))
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .context("logging was started twice")
}
