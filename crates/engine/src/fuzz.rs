//! What holds for any bytes, as functions that panic when it does not: run by `fuzz/` and by the
//! tests here, over the same corpus.
//!
//! Bytes are refused, or are exactly what the value they give is written as: every value has one
//! form, so equal states have equal rows on all nodes.

use std::fmt::Debug;

use crate::core::Core;
use crate::fault::DecodeError;
use crate::tables::garbage::{ProjectGarbage, StoreGarbage};
use crate::tables::lane::LaneRow;
use crate::tables::message::MessageRow;
use crate::tables::project::{ProjectRow, TokenOwner, decode_token, encode_token};
use crate::tables::queue::{QueueRow, StoreOwner};
use crate::tables::retry::RetryRow;
use crate::tables::timer::{ExpiryRun, Timer};
use crate::{
    decode_batch, decode_part, decode_request, encode_batch, encode_part, encode_request,
    join_part, peek_part,
};

/// Input: an entry, or a part of one.
pub fn entry(bytes: &[u8]) {
    if let Ok(batch) = decode_batch(bytes) {
        let part = |part: &crate::Part| encode_part(part.lane, &part.requests);
        let parts: Vec<Vec<u8>> = batch.parts.iter().map(part).collect();
        assert_eq!(encode_batch(batch.stamp, &parts), bytes, "an entry has one form");
    }
    let peeked = peek_part(bytes);
    if let Ok((_, count)) = peeked {
        assert!(count < bytes.len(), "each request takes a byte at least");
    }
    if let Ok(part) = decode_part(bytes) {
        assert_eq!(peeked, Ok((part.lane, part.requests.len())), "a peek says what is there");
        let requests: Vec<Vec<u8>> = part.requests.iter().map(encode_request).collect();
        assert_eq!(join_part(part.lane, &requests), bytes, "a part has one form");
    }
}

/// Input: a request.
pub fn request(bytes: &[u8]) {
    same(bytes, decode_request, encode_request);
}

/// Input: the kind of row, then the row.
pub fn row(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 14 {
        0 => same(bytes, Core::decode, Core::encode),
        1 => same(bytes, ProjectRow::decode, ProjectRow::encode),
        2 => same(bytes, TokenOwner::decode, TokenOwner::encode),
        3 => same(bytes, decode_token, encode_token),
        4 => same(bytes, QueueRow::decode, QueueRow::encode),
        5 => same(bytes, StoreOwner::decode, StoreOwner::encode),
        6 => same(bytes, MessageRow::decode, MessageRow::encode),
        7 => same(bytes, RetryRow::decode, RetryRow::encode),
        8 => same(bytes, LaneRow::decode, LaneRow::encode),
        9 => same(bytes, StoreGarbage::decode, StoreGarbage::encode),
        10 => same(bytes, ProjectGarbage::decode, ProjectGarbage::encode),
        11 => same(bytes, ExpiryRun::decode, ExpiryRun::encode),
        _ => same(bytes, Timer::decode, Timer::key),
    }
}

fn same<T: Debug>(
    bytes: &[u8],
    decode: fn(&[u8]) -> Result<T, DecodeError>,
    encode: fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        assert_eq!(encode(&value), bytes, "{value:?} has one form");
    }
}

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn an_entry_has_one_form_or_is_refused() {
        check("engine_entry", 5000, super::entry);
    }

    #[test]
    fn a_request_has_one_form_or_is_refused() {
        check("engine_request", 5000, super::request);
    }

    #[test]
    fn a_row_has_one_form_or_is_refused() {
        check("engine_row", 5000, super::row);
    }
}
