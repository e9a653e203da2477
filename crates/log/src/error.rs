//! Why the log cannot go on.
//!
//! Not here: a full device, which is a state (`LogStats::disk_full`) and passes.

use std::error::Error;
use std::fmt;
use std::io;

use bessemer_model::GroupId;

/// Every one is final: the log refuses all later work with the same error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogError {
    /// The device failed. What was not yet durable may be lost; a sync is never tried twice.
    Io { action: &'static str, file: String, kind: io::ErrorKind, detail: String },
    /// Bytes that were durable are not what was written.
    Corrupt { segment: u32, offset: u32, reason: &'static str },
    /// A whole record that this version does not know.
    UnknownRecord { segment: u32, offset: u32, kind: u8, version: u8 },
    /// The device did not keep up for so long that memory ran out.
    QueueOverflow { bytes: usize, bytes_max: usize },
    /// An entry, vote or log id above its bound.
    TooLarge { bytes: usize, bytes_max: usize },
    /// An append that does not follow the group's last entry.
    OutOfOrder { group: GroupId, expected: u64, got: u64 },
    /// The votes and purge points of all groups do not fit into a quarter of a segment.
    TooManyGroups { bytes: usize, bytes_max: usize },
    /// `LogOptions::segment_bytes` is out of its range.
    SegmentBytes { bytes: u64 },
}

impl LogError {
    pub(crate) fn io(action: &'static str, file: &str, error: &io::Error) -> LogError {
        LogError::Io {
            action,
            file: file.to_owned(),
            kind: error.kind(),
            detail: error.to_string(),
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Io { action, file, kind: _, detail } => {
                write!(f, "cannot {action} log file {file:?}: {detail}; check the device, restart")
            }
            LogError::Corrupt { segment, offset, reason } => write!(
                f,
                "log segment {segment} is damaged at byte {offset}: {reason}; this node must be \
                 replaced under a new node id"
            ),
            LogError::UnknownRecord { segment, offset, kind, version } => write!(
                f,
                "log segment {segment} holds a record of kind {kind}, version {version} at byte \
                 {offset}: it was written by a newer program; start that one"
            ),
            LogError::QueueOverflow { bytes, bytes_max } => write!(
                f,
                "{bytes} bytes wait for the log's device, more than {bytes_max}: it is too slow \
                 or stuck"
            ),
            LogError::TooLarge { bytes, bytes_max } => {
                write!(f, "a log record of {bytes} bytes is above the bound of {bytes_max}")
            }
            LogError::OutOfOrder { group, expected, got } => {
                write!(f, "entry {got} of group {group} does not follow: {expected} is next")
            }
            LogError::TooManyGroups { bytes, bytes_max } => write!(
                f,
                "the state of all groups takes {bytes} bytes of each log segment, more than \
                 {bytes_max}: raise the segment size"
            ),
            LogError::SegmentBytes { bytes } => write!(
                f,
                "a log segment of {bytes} bytes is not a multiple of 8 between 4 KiB and 1 GiB"
            ),
        }
    }
}

impl Error for LogError {}
