//! Records by themselves. Input: kind, version, body. And once more: all of it as a frame.

use bessemer_model::GroupId;

use crate::frame::{self, HEADER_BYTES, Header, Place};
use crate::position::Position;
use crate::record;

const PLACE: Place = Place { salt: 7, at: Position::new(3, 64) };
const GROUP: GroupId = GroupId(9);
const WATERMARK: Position = Position::new(2, 8);

/// A body is refused, or is exactly what its record is written as; a frame is refused, or is
/// exactly what `frame::encode` makes of what it says.
pub fn record(bytes: &[u8]) {
    if let [kind, version, body @ ..] = bytes {
        check_body(*kind, *version, body);
    }
    check_frame(bytes);
}

fn check_body(kind: u8, version: u8, body: &[u8]) {
    let Some(record) = record::decode(kind, version, body) else { return };
    // A segment's first record is written for a salt of 0, whatever the log's is.
    let salt = if matches!(record, record::Record::Segment { .. }) { 0 } else { PLACE.salt };
    let place = Place { salt, ..PLACE };
    let mut written = Vec::new();
    record.encode(&mut written, PLACE.salt, PLACE.at, GROUP, WATERMARK);
    assert_eq!(written.len(), record.stride());
    let header = frame::header(place, &written).expect("a written record has a header");
    assert_eq!((header.kind, header.version), (kind, version));
    assert_eq!((header.group, header.watermark), (GROUP, WATERMARK));
    let whole = frame::body(place, &written[..header.bytes as usize]);
    assert_eq!(whole, Some(body), "a record has one form");
}

fn check_frame(bytes: &[u8]) {
    let Some(head) = bytes.get(..HEADER_BYTES) else { return };
    let Some(header) = frame::header(PLACE, head) else { return };
    let Some(frame) = bytes.get(..header.bytes as usize) else { return };
    let Some(body) = frame::body(PLACE, frame) else { return };
    let mut written = Vec::new();
    let again = Header { bytes: 0, ..header };
    frame::encode(&mut written, PLACE, again, body.len(), |into| into.extend_from_slice(body));
    assert_eq!(&written[..frame.len()], frame, "a frame has one form");
    assert_eq!(written.len(), header.stride() as usize);
}
