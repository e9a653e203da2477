//! Opening: reads all segments, tells a torn tail from damage, cuts the one and refuses the other.
//!
//! Not here: how records are found (`scan.rs`) and what they add up to (`replay.rs`).
//! Invariants: opening changes nothing but zeros behind the end, and a crash while it works
//! leaves a log that opens to the same entries; when it returns, everything before the end is
//! durable, also what an earlier process wrote and never synced.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bessemer_model::GroupId;
use bessemer_seam::log_disk::{LogDisk, LogFile};
use bessemer_seam::mutants::{self, Mutant};

use crate::error::LogError;
use crate::files::Numbered;
use crate::frame::Place;
use crate::group::Group;
use crate::options::LogOptions;
use crate::position::Position;
use crate::record::{self, Record};
use crate::replay::Replay;
use crate::scan::{self, Next, Rest};
use crate::segment::{self, Window};
use crate::writer::{Start, Writer};

/// Bytes rewritten or zeroed at once.
const BLOCK_BYTES: u32 = 1 << 20;

/// What `Log::open` found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// There was no log: a new one was made.
    pub fresh: bool,
    /// Whole records read.
    pub records: u64,
    /// Bytes from the end to the last one that was not zero: an unfinished write, now cut.
    pub torn_bytes: u64,
    /// The newest watermark the log states of itself: everything before was once durable. What
    /// lies between it and `end` may or may not have been acknowledged.
    pub last_durable: Position,
    /// End of the last whole record.
    pub end: Position,
    /// Groups that have any record, in ascending order.
    pub groups: Vec<GroupId>,
}

/// The parts of an open log.
pub(crate) struct Found<F> {
    pub salt: u64,
    pub groups: BTreeMap<GroupId, Group>,
    pub segments: BTreeMap<u32, Arc<F>>,
    pub spares: VecDeque<Numbered<F>>,
    pub next_number: u32,
    pub writer: Writer<F>,
    pub recovered: Recovered,
}

/// A segment file, and what its first record says; `None` when that is not one.
struct Segment<F> {
    number: u32,
    file: Arc<F>,
    bytes: u64,
    head: Option<Head>,
}

#[derive(Clone, Copy)]
struct Head {
    salt: u64,
    previous_end: Position,
}

impl<F: LogFile> Segment<F> {
    fn window(&self) -> Window<'_, F> {
        Window::new(&self.file, self.bytes)
    }

    fn at(&self, offset: u32) -> Position {
        Position { segment: self.number, offset }
    }

    fn error(&self, action: &'static str) -> impl Fn(std::io::Error) -> LogError + use<F> {
        let name = segment::name(self.number);
        move |error| LogError::io(action, &name, &error)
    }
}

pub(crate) fn recover<D: LogDisk>(
    disk: &D,
    options: &LogOptions,
) -> Result<Found<D::File>, LogError> {
    let mut segments = open_segments(disk)?;
    let Some(last) = segments.iter().rposition(|segment| segment.head.is_some()) else {
        check_never_used(&segments)?;
        remove(disk, segments)?;
        return make(disk, options);
    };
    let behind = segments.split_off(last + 1);
    let salt = check_heads(&segments)?;
    let mut replay = Replay::default();
    let end = replay_all(&mut replay, &segments, salt)?;
    let torn_bytes = check_tail(&segments[last], &behind, salt, end)?;
    let last = &segments[last];
    replay.check_complete(last.number)?;
    if torn_bytes > 0 {
        zero(last, end.offset)?;
    }
    let spares = keep_spares(disk, options, behind)?;
    let next_number = last.number + 1 + spares.len() as u32;
    harden(last, replay.stated, end)?;

    let recovered = Recovered {
        fresh: false,
        records: replay.records,
        torn_bytes,
        last_durable: replay.stated,
        end,
        groups: replay.views.keys().copied().collect(),
    };
    let (file, bytes) = (last.file.clone(), last.bytes);
    let start = Start { salt, file, bytes, end, stated: replay.stated, views: replay.views };
    Ok(Found {
        salt,
        groups: replay.groups,
        segments: segments.into_iter().map(|segment| (segment.number, segment.file)).collect(),
        spares,
        next_number,
        writer: Writer::new(start),
        recovered,
    })
}

/// Opens every segment, in ascending order of number.
fn open_segments<D: LogDisk>(disk: &D) -> Result<Vec<Segment<D::File>>, LogError> {
    let names = disk.list().map_err(|error| LogError::io("list", "", &error))?;
    let mut segments: Vec<Segment<D::File>> = Vec::new();
    for number in names.iter().filter_map(|name| segment::number(name)) {
        if let Some(before) = segments.last()
            && number != before.number + 1
        {
            return Err(corrupt(Position::new(before.number + 1, 0), "the segment is missing"));
        }
        let name = segment::name(number);
        let file = disk.open(&name).map_err(|error| LogError::io("open", &name, &error))?;
        let bytes = file.bytes().map_err(|error| LogError::io("measure", &name, &error))?;
        let bytes = bytes.min(crate::SEGMENT_BYTES_MAX);
        let mut segment = Segment { number, file: Arc::new(file), bytes, head: None };
        segment.head = read_head(&segment)?;
        segments.push(segment);
    }
    Ok(segments)
}

fn read_head<F: LogFile>(segment: &Segment<F>) -> Result<Option<Head>, LogError> {
    let read_error = segment.error("read");
    let at = segment.at(0);
    let mut window = Window::new(&*segment.file, segment.bytes.min(4096));
    let Next::Record(header) =
        scan::next(&mut window, Place { salt: 0, at }).map_err(&read_error)?
    else {
        return Ok(None);
    };
    let body = scan::body(&mut window, at, &header).map_err(&read_error)?;
    match record::decode(header.kind, header.version, body) {
        Some(Record::Segment { salt, previous_end }) => Ok(Some(Head { salt, previous_end })),
        Some(_) => Err(corrupt(at, "a segment does not begin as one")),
        None => Err(unknown(at, header.kind, header.version)),
    }
}

/// No segment has a head: either the very first one was never finished, or all are damaged. The
/// first head is synced before anything follows, so anything behind it means damage.
fn check_never_used<F: LogFile>(segments: &[Segment<F>]) -> Result<(), LogError> {
    let head_bytes = Record::Segment { salt: 0, previous_end: Position::default() }.stride() as u32;
    for segment in segments {
        let rest = scan::search(&mut segment.window(), 0, segment.number, head_bytes)
            .map_err(segment.error("read"))?;
        if rest.written_end.is_some() {
            return Err(corrupt(segment.at(0), "the segment's first record is not readable"));
        }
    }
    Ok(())
}

/// Every segment up to the last one with a head must have one, all of one log. Returns its salt.
fn check_heads<F: LogFile>(segments: &[Segment<F>]) -> Result<u64, LogError> {
    let mut salt = None;
    for segment in segments {
        let at = segment.at(0);
        let head = segment.head.ok_or(corrupt(at, "the segment's first record is not readable"))?;
        if *salt.get_or_insert(head.salt) != head.salt {
            return Err(corrupt(at, "the segment belongs to another log"));
        }
    }
    salt.ok_or(corrupt(Position::default(), "no segment has a first record"))
}

/// Replays every segment: each to the end its successor states, the last as far as it is whole.
/// Returns the end.
fn replay_all<F: LogFile>(
    replay: &mut Replay,
    segments: &[Segment<F>],
    salt: u64,
) -> Result<Position, LogError> {
    let mut end = Position::default();
    for (place, segment) in segments.iter().enumerate() {
        end = replay_segment(replay, segment, salt)?;
        let stated = segments.get(place + 1).and_then(|next| next.head);
        if stated.is_some_and(|next| next.previous_end != end) {
            return Err(corrupt(end, "a record is not readable, and a later segment exists"));
        }
    }
    Ok(end)
}

/// Replays whole records from the start of `segment`; returns where they end.
fn replay_segment<F: LogFile>(
    replay: &mut Replay,
    segment: &Segment<F>,
    salt: u64,
) -> Result<Position, LogError> {
    let read_error = segment.error("read");
    let mut window = segment.window();
    let mut at = segment.at(0);
    loop {
        // The first record of a segment is read before the salt is known.
        let place = Place { salt: if at.offset == 0 { 0 } else { salt }, at };
        let Next::Record(header) = scan::next(&mut window, place).map_err(&read_error)? else {
            return Ok(at);
        };
        let body = scan::body(&mut window, at, &header).map_err(&read_error)?;
        let record = record::decode(header.kind, header.version, body).ok_or(unknown(
            at,
            header.kind,
            header.version,
        ))?;
        replay.apply(at, &header, &record)?;
        at.offset += header.stride();
    }
}

/// Looks behind `end`, the first place without a whole record, for one that was written after
/// the bytes at `end` had been synced. Returns how many bytes are to be cut.
fn check_tail<F: LogFile>(
    last: &Segment<F>,
    behind: &[Segment<F>],
    salt: u64,
    end: Position,
) -> Result<u64, LogError> {
    let mut torn_bytes = 0;
    for segment in std::iter::once(last).chain(behind) {
        let from = if segment.number == last.number { end.offset } else { 0 };
        let Rest { watermark, written_end } =
            scan::search(&mut segment.window(), salt, segment.number, from)
                .map_err(segment.error("read"))?;
        let was_durable = watermark.is_some_and(|watermark| watermark > end);
        if was_durable && !mutants::on(Mutant::NatsDamagedRecordSkipped) {
            return Err(corrupt(end, "a record is not readable that later ones say was durable"));
        }
        torn_bytes += written_end.map_or(0, |written_end| u64::from(written_end - from));
    }
    Ok(torn_bytes)
}

/// Overwrites everything behind `from` that is not zero, durably: what was cut must not pass for
/// a record once others were appended before it.
fn zero<F: LogFile>(segment: &Segment<F>, from: u32) -> Result<(), LogError> {
    let mut window = segment.window();
    let mut at = from;
    while u64::from(at) < segment.bytes {
        let bytes = u64::from(BLOCK_BYTES).min(segment.bytes - u64::from(at));
        let block = window.slice(u64::from(at), bytes).map_err(segment.error("read"))?;
        if block.is_some_and(|block| block.iter().any(|byte| *byte != 0)) {
            let zeros = vec![0; bytes as usize];
            segment.file.write_at(u64::from(at), &zeros).map_err(segment.error("write"))?;
        }
        at += bytes as u32;
    }
    segment.file.sync().map_err(segment.error("sync"))
}

/// Writes the not surely synced records again, and syncs. They may be there only because the
/// kernel still holds what an earlier process wrote, even after that process's sync failed:
/// then the kernel takes them for clean, and only a new write makes them durable.
fn harden<F: LogFile>(last: &Segment<F>, stated: Position, end: Position) -> Result<(), LogError> {
    let mut at = stated.max(last.at(0)).offset;
    let mut window = last.window();
    while at < end.offset {
        let bytes = BLOCK_BYTES.min(end.offset - at);
        let block = window.slice(u64::from(at), u64::from(bytes)).map_err(last.error("read"))?;
        let block = block.expect("records end inside their segment").to_vec();
        last.file.write_at(u64::from(at), &block).map_err(last.error("write"))?;
        at += bytes;
    }
    last.file.sync().map_err(last.error("sync"))
}

/// Keeps the segments behind the last one that are empty and of the right size; removes others.
fn keep_spares<D: LogDisk>(
    disk: &D,
    options: &LogOptions,
    behind: Vec<Segment<D::File>>,
) -> Result<VecDeque<Numbered<D::File>>, LogError> {
    let mut spares = VecDeque::new();
    let mut others = Vec::new();
    for segment in behind {
        let rest = scan::search(&mut segment.window(), 0, segment.number, 0)
            .map_err(segment.error("read"))?;
        let empty = rest.written_end.is_none() && segment.bytes == options.segment_bytes;
        if empty && others.is_empty() {
            spares.push_back((segment.number, segment.file));
        } else {
            others.push(segment);
        }
    }
    remove(disk, others)?;
    Ok(spares)
}

/// Removes `segments`, the last first, so that numbers stay without a gap.
fn remove<D: LogDisk>(disk: &D, segments: Vec<Segment<D::File>>) -> Result<(), LogError> {
    for segment in segments.into_iter().rev() {
        disk.remove(&segment::name(segment.number)).map_err(segment.error("remove"))?;
    }
    Ok(())
}

/// Makes a new log: one segment with its first record, synced.
fn make<D: LogDisk>(disk: &D, options: &LogOptions) -> Result<Found<D::File>, LogError> {
    let name = segment::name(1);
    let fail = |action| move |error| LogError::io(action, &segment::name(1), &error);
    let file = Arc::new(disk.create(&name, options.segment_bytes).map_err(fail("make"))?);
    let head = Record::Segment { salt: options.salt, previous_end: Position::default() };
    let mut bytes = Vec::new();
    head.encode(&mut bytes, 0, Position::new(1, 0), GroupId(0), Position::default());
    file.write_at(0, &bytes).map_err(fail("write"))?;
    file.sync().map_err(fail("sync"))?;
    let end = Position::new(1, bytes.len() as u32);
    let start = Start {
        salt: options.salt,
        file: file.clone(),
        bytes: options.segment_bytes,
        end,
        stated: Position::default(),
        views: BTreeMap::new(),
    };
    Ok(Found {
        salt: options.salt,
        groups: BTreeMap::new(),
        segments: BTreeMap::from([(1, file)]),
        spares: VecDeque::new(),
        next_number: 2,
        writer: Writer::new(start),
        recovered: Recovered { fresh: true, records: 1, end, ..Recovered::default() },
    })
}

fn corrupt(at: Position, reason: &'static str) -> LogError {
    LogError::Corrupt { segment: at.segment, offset: at.offset, reason }
}

fn unknown(at: Position, kind: u8, version: u8) -> LogError {
    LogError::UnknownRecord { segment: at.segment, offset: at.offset, kind, version }
}
