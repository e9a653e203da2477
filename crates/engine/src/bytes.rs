//! Bytes in and out: the few shapes all our encodings are made of.
//!
//! Not here: what the bytes mean. Reading is total: any input gives a value or a `DecodeError`,
//! and never allocates more than a bounded multiple of the input.

use crate::fault::DecodeError;

/// Appends values to a buffer.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Eight bytes, most significant first: keys keep the order of numbers.
    pub fn fixed(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// One to ten bytes, seven bits each, least significant first.
    pub fn var(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// As they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Length, then the bytes.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.var(bytes.len() as u64);
        self.raw(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.slice(text.as_bytes());
    }

    /// 0 for `None`; 1 and the number otherwise.
    pub fn option_var(&mut self, value: Option<u64>) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                self.var(value);
            }
        }
    }

    pub fn option_text(&mut self, value: Option<&str>) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                self.text(value);
            }
        }
    }
}

/// Takes values from the front of a buffer. `what` names the record in errors.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Room to reserve for `count` items of which each takes at least one byte.
    pub fn room(&self, count: u64) -> usize {
        count.min(self.rest.len() as u64) as usize
    }

    pub fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { what: self.what }
    }

    pub fn unknown(&self, tag: u8) -> DecodeError {
        DecodeError::UnknownTag { what: self.what, tag }
    }

    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn fixed(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Refuses a number that is written longer than it needs: each has one form.
    pub fn var(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let beyond = shift == 63 && bits > 1;
            let padded = shift > 0 && byte == 0;
            if beyond || padded {
                return Err(self.malformed());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }

    pub fn var32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.var()?).map_err(|_| self.malformed())
    }

    pub fn slice(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = usize::try_from(self.var()?).map_err(|_| self.malformed())?;
        self.raw(count)
    }

    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.slice()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed())
    }

    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.unknown(other)),
        }
    }

    pub fn option_var(&mut self) -> Result<Option<u64>, DecodeError> {
        if self.flag()? { self.var().map(Some) } else { Ok(None) }
    }

    pub fn option_text(&mut self) -> Result<Option<&'a str>, DecodeError> {
        if self.flag()? { self.text().map(Some) } else { Ok(None) }
    }

    /// Reads the leading version byte and refuses any but `known`.
    pub fn version(&mut self, known: u8) -> Result<(), DecodeError> {
        let version = self.u8()?;
        if version == known {
            Ok(())
        } else {
            Err(DecodeError::UnknownVersion { what: self.what, version })
        }
    }

    /// Everything must have been read.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_read_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut writer = Writer::default();
                writer.var(value);
                writer.fixed(value);
                let bytes = writer.finish();
                let mut reader = Reader::new("number", &bytes);
                assert_eq!(reader.var(), Ok(value));
                assert_eq!(reader.fixed(), Ok(value));
                assert_eq!(reader.end(), Ok(()));
            }
        }
    }

    #[test]
    fn a_number_has_one_form() {
        for padded in [&[0x80, 0][..], &[0x81, 0], &[0x81, 0x80, 0], &[0xff, 0x80, 0x80, 0]] {
            assert!(Reader::new("number", padded).var().is_err(), "{padded:?}");
        }
        assert_eq!(Reader::new("number", &[0]).var(), Ok(0));
    }

    #[test]
    fn a_length_beyond_the_input_is_malformed() {
        let mut writer = Writer::default();
        writer.var(u64::MAX);
        let bytes = writer.finish();
        assert!(Reader::new("text", &bytes).slice().is_err());
        assert!(Reader::new("number", &[0xff; 10]).var().is_err());
    }
}
