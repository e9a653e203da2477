//! How far each node's lane was applied. `L` node → boot and last number.

use bessemer_model::{BootCount, NodeId};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;
use crate::tables::number_key;

const VERSION: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LaneRow {
    pub boot: BootCount,
    /// Number of the last part applied in that boot.
    pub last: u64,
}

pub(crate) fn key(node: NodeId) -> Vec<u8> {
    number_key(b'L', node.0)
}

impl LaneRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.var(self.boot.0);
        writer.var(self.last);
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<LaneRow, DecodeError> {
        let mut reader = Reader::new("lane row", bytes);
        reader.version(VERSION)?;
        let row = LaneRow { boot: BootCount(reader.var()?), last: reader.var()? };
        reader.end()?;
        Ok(row)
    }
}
