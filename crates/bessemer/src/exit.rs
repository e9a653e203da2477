//! How the program ends: every exit code, and the error that carries one.
//!
//! Not here: what the errors are about. The codes are API: scripts test them.

use std::fmt;
use std::process::ExitCode;

/// Exit codes. 2 is also what the command line parser uses for a wrong invocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Success = 0,
    /// Anything without a code of its own; the message says what.
    Failure = 1,
    /// The command line, the environment or the configuration is wrong.
    Usage = 2,
    /// The queue, message, project, token or node does not exist.
    NotFound = 3,
    /// The request may or may not have been applied.
    Unknown = 4,
    /// No token, or an unknown one.
    Unauthorized = 5,
    /// The token has no right to do this, or a reservation has ended.
    Forbidden = 6,
    /// Certainly not applied; the same command may be sent again.
    NotDone = 7,
    /// No node of the cluster answers.
    Unreachable = 8,
    /// The node found its own state or disk unsound and stopped.
    Fatal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error that knows its exit code. Carried inside `anyhow::Error`; the outermost one wins.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub message: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Ended {}

/// An error with `exit` as its code.
pub fn ended(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Ended { exit, message: message.into() }.into()
}

/// The exit code `error` asks for; `Failure` when none in its chain does.
pub fn code_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Ended>())
        .map_or(Exit::Failure, |ended| ended.exit)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_code_survives_added_context() {
        let error = Err::<(), _>(ended(Exit::NotFound, "Queue not found"))
            .context("while asking node 1")
            .unwrap_err();
        assert_eq!(code_of(&error), Exit::NotFound);
        assert_eq!(code_of(&anyhow::anyhow!("plain")), Exit::Failure);
    }
}
