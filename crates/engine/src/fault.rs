//! What stops a replica: damaged rows, a failing device, an entry this version does not know.
//!
//! Not here: refusals of a request (`Rejection`), which change nothing and stop nobody.

use std::fmt;
use std::io;

use bessemer_model::{LogIndex, Rejection};

/// Bytes that are no valid encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Too short, too long, or out of range somewhere.
    Malformed { what: &'static str },
    /// A format newer (or older) than this program.
    UnknownVersion { what: &'static str, version: u8 },
    /// A variant this program does not know.
    UnknownTag { what: &'static str, tag: u8 },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed { what } => write!(f, "malformed {what}"),
            DecodeError::UnknownVersion { what, version } => {
                write!(f, "{what} of unknown version {version}; this program is too old for it")
            }
            DecodeError::UnknownTag { what, tag } => {
                write!(f, "{what} of unknown kind {tag}; this program is too old for it")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why the engine cannot go on. The replica stops: it never skips an entry.
#[derive(Debug)]
pub enum Fault {
    /// The map below failed.
    Kv(io::Error),
    /// An entry or a row could not be read.
    Decode(DecodeError),
    /// Two rows contradict each other.
    Corrupt { what: &'static str, key: Vec<u8> },
    /// The cluster runs a version this program does not know.
    UnknownVersion { cluster_version: u32 },
    /// An entry came out of order.
    IndexNotAbove { index: LogIndex, applied: LogIndex },
    /// An earlier fault left the state in memory unfinished; open the engine anew.
    Stopped,
}

impl Fault {
    pub(crate) fn corrupt(what: &'static str, key: impl AsRef<[u8]>) -> Fault {
        Fault::Corrupt { what, key: key.as_ref().to_vec() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kv(_) => f.write_str("the state's device failed"),
            Fault::Decode(_) => f.write_str("an entry or a row of the state cannot be read"),
            Fault::Corrupt { what, key } => {
                write!(f, "the state contradicts itself: {what}, at key {}", key.escape_ascii())
            }
            Fault::UnknownVersion { cluster_version } => write!(
                f,
                "the cluster runs version {cluster_version}, which this program does not know; \
                 upgrade this node"
            ),
            Fault::IndexNotAbove { index, applied } => {
                write!(f, "entry {index} came after entry {applied} was applied")
            }
            Fault::Stopped => f.write_str("the engine stopped at an earlier fault"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Fault::Kv(error) => Some(error),
            Fault::Decode(error) => Some(error),
            Fault::Corrupt { .. }
            | Fault::UnknownVersion { .. }
            | Fault::IndexNotAbove { .. }
            | Fault::Stopped => None,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Kv(error)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        Fault::Decode(error)
    }
}

/// Why a verb did not go through: refused by its check, or stopped by a fault.
#[derive(Debug)]
pub(crate) enum Refusal {
    Rejected(Rejection),
    Fault(Fault),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Refusal {
        Refusal::Rejected(rejection)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}
