//! Rows: one file per kind, with the layout of its key and the bytes of its value.
//!
//! Not here: when a row is written. Every value begins with a version; numbers in keys are
//! big-endian, so that keys keep their order.
//!
//! Table `Row`: `P` project · `Z` project's token · `z` token's project · `Q` queue · `S` store's
//! queue · `M` message · `I` moved message · `H` head of an ordering key · `D` keyed retry ·
//! `L` lane · `G` ended store · `X` ended project.
//! Table `Index`: `R` ready · `K` waiting behind the head of an ordering key · `T` timers.
//! Table `Body`: message id.

pub mod garbage;
pub mod lane;
pub mod message;
pub mod project;
pub mod queue;
pub mod retry;
pub mod timer;

use bessemer_seam::kv::{KvRead, Table};

use crate::fault::Fault;

/// The first key after all keys that begin with `prefix`.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Every prefix of ours begins with a letter.
    unreachable!("a prefix of bytes 0xff alone has no end")
}

/// Eight bytes at `at` of `key`, as a number.
pub(crate) fn number_at(key: &[u8], at: usize) -> Result<u64, Fault> {
    key.get(at..)
        .and_then(|rest| rest.first_chunk::<8>())
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| Fault::corrupt("a key is too short", key))
}

/// A tag, then a number.
pub(crate) fn number_key(tag: u8, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(tag);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// A tag, a number, then bytes.
pub(crate) fn bytes_key(tag: u8, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + rest.len());
    key.push(tag);
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

/// Reads one row and decodes it.
pub(crate) fn read<T>(
    rows: &dyn KvRead,
    table: Table,
    key: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, crate::fault::DecodeError>,
) -> Result<Option<T>, Fault> {
    match rows.get(table, key)? {
        Some(bytes) => Ok(Some(decode(&bytes)?)),
        None => Ok(None),
    }
}
