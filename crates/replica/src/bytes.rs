//! Writing and reading of numbers and byte strings, big-endian, with explicit lengths.
//!
//! Not here: what the bytes mean. Invariant: reading is total: any input gives a value or a
//! `DecodeError`, never a panic, and never an allocation larger than the input.

use std::fmt;

/// Bytes that do not mean what they should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// What was being read.
    pub what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the bytes of {} cannot be read: they are damaged or of another version",
            self.what
        )
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for std::io::Error {
    fn from(error: DecodeError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Appends to a growing buffer.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// A count or a length; what is counted is bounded far below 2^32 by the message size.
    pub fn length(&mut self, value: usize) {
        self.u32(u32::try_from(value).expect("lengths are bounded by the message size"));
    }

    /// Length, then the bytes.
    pub fn block(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.block(value.as_bytes());
    }
}

/// Reads from the front of a slice.
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// `what` is named by errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    pub fn error(&self) -> DecodeError {
        DecodeError { what: self.what }
    }

    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or_else(|| self.error())?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives as many bytes as asked for"))
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error()),
        }
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// The next key of a list that was written in ascending order: above the one `before`.
    pub fn key_above(&mut self, before: Option<u64>) -> Result<u64, DecodeError> {
        let key = self.u64()?;
        if before.is_some_and(|before| key <= before) { Err(self.error()) } else { Ok(key) }
    }

    /// A count of items of at least `item_bytes` each: never more than the rest can hold.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / item_bytes.max(1) { Err(self.error()) } else { Ok(count) }
    }

    pub fn block(&mut self) -> Result<&'a [u8], DecodeError> {
        let bytes = self.u32()? as usize;
        self.take(bytes)
    }

    pub fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = self.block()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.error())
    }

    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left over.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error()) }
    }
}
