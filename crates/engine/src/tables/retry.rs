//! Outcomes of keyed requests, kept for `RETRY_KEY_LIFE` of log time.
//!
//! Not here: bodies; an outcome holds ids. `D` project number, key → row. Each row has its timer.
//! Under number 0, which no project has, the group keeps what must outlive a project: the key there
//! is the project's id with its length, then the key.

use bessemer_model::limits::PROJECT_ID_BYTES_MAX;
use bessemer_model::{Millis, Outcome, ProjectId};

use crate::bytes::{Reader, Writer};
use crate::codec::outcome::{put_outcome, take_outcome};
use crate::fault::DecodeError;
use crate::tables::{bytes_key, number_key};

const VERSION: u8 = 1;

/// The group's own number.
pub(crate) const OF_GROUP: u64 = 0;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RetryRow {
    pub request_hash: [u8; 16],
    pub expires_at: Millis,
    pub project: ProjectId,
    pub outcome: Outcome,
}

pub(crate) fn key(number: u64, key: &str) -> Vec<u8> {
    bytes_key(b'D', number, key.as_bytes())
}

/// The key under the group's number. A project's id was checked to be short.
pub(crate) fn group_key(project: &ProjectId, key: &str) -> Box<str> {
    let project = project.as_str();
    assert!(project.len() <= PROJECT_ID_BYTES_MAX, "the length takes two digits");
    format!("{:02}{project}{key}", project.len()).into()
}

pub(crate) fn prefix(number: u64) -> Vec<u8> {
    number_key(b'D', number)
}

impl RetryRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.u8(VERSION);
        writer.raw(&self.request_hash);
        writer.var(self.expires_at.0);
        writer.text(self.project.as_str());
        put_outcome(&mut writer, &self.outcome);
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<RetryRow, DecodeError> {
        let mut reader = Reader::new("retry row", bytes);
        reader.version(VERSION)?;
        let row = RetryRow {
            request_hash: reader.array()?,
            expires_at: Millis(reader.var()?),
            project: ProjectId::new(reader.text()?),
            outcome: take_outcome(&mut reader, false)?,
        };
        reader.end()?;
        Ok(row)
    }
}
