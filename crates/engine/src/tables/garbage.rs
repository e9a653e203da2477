//! What has ended but still has rows, for `Sweep`.
//!
//! Not here: the sweeping. `G` store → position it was swept up to; `X` project number → the
//! queue name and the token and retry key it was swept up to.

use bessemer_model::{Position, StoreId};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;
use crate::tables::number_key;

const VERSION: u8 = 1;

/// How far an ended store was swept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoreGarbage {
    pub cursor: Position,
}

/// How far an ended project was swept: every key of its rows below these is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProjectGarbage {
    pub project: Box<str>,
    pub queues_from: Vec<u8>,
    pub tokens_from: Vec<u8>,
    pub retries_from: Vec<u8>,
}

pub(crate) fn store_key(store: StoreId) -> Vec<u8> {
    number_key(b'G', store.0)
}

pub(crate) fn project_key(number: u64) -> Vec<u8> {
    number_key(b'X', number)
}

impl StoreGarbage {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.var(self.cursor.0);
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<StoreGarbage, DecodeError> {
        let mut reader = Reader::new("ended store row", bytes);
        reader.version(VERSION)?;
        let row = StoreGarbage { cursor: Position(reader.var()?) };
        reader.end()?;
        Ok(row)
    }
}

impl ProjectGarbage {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.text(&self.project);
        for from in [&self.queues_from, &self.tokens_from, &self.retries_from] {
            writer.slice(from);
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<ProjectGarbage, DecodeError> {
        let mut reader = Reader::new("ended project row", bytes);
        reader.version(VERSION)?;
        let row = ProjectGarbage {
            project: reader.text()?.into(),
            queues_from: reader.slice()?.to_vec(),
            tokens_from: reader.slice()?.to_vec(),
            retries_from: reader.slice()?.to_vec(),
        };
        reader.end()?;
        Ok(row)
    }
}
