//! What belongs to the group as a whole: one row, held in memory and written at each commit.
//!
//! Not here: anything of a project.
//! Invariants: every counter only grows and is never reused; `log_time` never falls; the chain is
//! that of the batches up to `applied`.

use bessemer_model::{LogIndex, Millis, StoreId};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;

/// Key of the row in table `Meta`.
pub(crate) const KEY: &str = "engine/core";
const VERSION: u8 = 1;
/// The only cluster version this program knows. One line of history each:
/// 1: queues, dead letters, ordering keys, keyed retries, transactions.
pub(crate) const CLUSTER_VERSION: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Core {
    /// 0 until `InitGroup` was applied.
    pub cluster_version: u32,
    /// Keys the MAC of reservation ids.
    pub secret: [u8; 32],
    pub applied: LogIndex,
    pub chain: [u8; 32],
    pub log_time: Millis,
    /// The next message's sequence number, and the next position.
    pub next_sequence: u64,
    pub next_store: u64,
    pub next_generation: u64,
    pub next_project: u64,
    /// Ended stores and projects that still have rows.
    pub garbage_stores: u64,
    pub garbage_projects: u64,
    /// No ended store is below this one.
    pub garbage_from: StoreId,
    /// Outcomes kept under the number of the group itself (`tables/retry.rs`).
    pub retry_keys: u64,
}

impl Default for Core {
    fn default() -> Core {
        Core {
            cluster_version: 0,
            secret: [0; 32],
            applied: LogIndex(0),
            chain: [0; 32],
            log_time: Millis::ZERO,
            next_sequence: 1,
            next_store: 1,
            next_generation: 1,
            next_project: 1,
            garbage_stores: 0,
            garbage_projects: 0,
            garbage_from: StoreId(0),
            retry_keys: 0,
        }
    }
}

impl Core {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(160);
        writer.u8(VERSION);
        writer.var(u64::from(self.cluster_version));
        writer.raw(&self.secret);
        writer.fixed(self.applied.0);
        writer.raw(&self.chain);
        writer.fixed(self.log_time.0);
        for number in [
            self.next_sequence,
            self.next_store,
            self.next_generation,
            self.next_project,
            self.garbage_stores,
            self.garbage_projects,
            self.garbage_from.0,
            self.retry_keys,
        ] {
            writer.fixed(number);
        }
        writer.finish()
    }

    /// A state of a cluster version this program does not know still decodes, so that the caller
    /// can say which version it is.
    pub fn decode(bytes: &[u8]) -> Result<Core, DecodeError> {
        let mut reader = Reader::new("core row", bytes);
        reader.version(VERSION)?;
        let core = Core {
            cluster_version: reader.var32()?,
            secret: reader.array()?,
            applied: LogIndex(reader.fixed()?),
            chain: reader.array()?,
            log_time: Millis(reader.fixed()?),
            next_sequence: reader.fixed()?,
            next_store: reader.fixed()?,
            next_generation: reader.fixed()?,
            next_project: reader.fixed()?,
            garbage_stores: reader.fixed()?,
            garbage_projects: reader.fixed()?,
            garbage_from: StoreId(reader.fixed()?),
            retry_keys: reader.fixed()?,
        };
        reader.end()?;
        Ok(core)
    }
}
