//! Planted bugs: each must be found by the checks, or the checks are worth nothing.
//!
//! They live in the world and in the harness alone; the code under test has no such switch.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Most syncs return before anything is durable.
    SyncBeforeDurable,
    /// Now and then a body changes by one bit on its way into the state of one node.
    WrongByteInState,
}

impl Bug {
    pub const ALL: [Bug; 2] = [Bug::SyncBeforeDurable, Bug::WrongByteInState];

    pub fn name(self) -> &'static str {
        match self {
            Bug::SyncBeforeDurable => "sync-before-durable",
            Bug::WrongByteInState => "wrong-byte-in-state",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Bug, String> {
        let found = Bug::ALL.into_iter().find(|bug| bug.name() == text);
        found.ok_or_else(|| format!("one of {}", Bug::ALL.map(Bug::name).join(", ")))
    }
}
