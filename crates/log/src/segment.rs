//! Names of segment files, and reading one from front to back.
//!
//! Not here: what its records say, and which segments a log has.

use std::io;

use bessemer_seam::log_disk::LogFile;

/// Bytes read at once: several entries, and not enough to matter in memory.
const BLOCK_BYTES: u64 = 1 << 20;

/// File name of segment `number`; names sort as numbers do.
pub(crate) fn name(number: u32) -> String {
    format!("{number:020}.log")
}

/// The segment that `name` is; `None` for a file that is not ours.
pub(crate) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log")?;
    let ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ours { digits.parse().ok() } else { None }
}

/// A segment file read through one buffer.
pub(crate) struct Window<'a, F> {
    file: &'a F,
    bytes: u64,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    start: u64,
}

impl<'a, F: LogFile> Window<'a, F> {
    /// Of the first `bytes` of `file`.
    pub fn new(file: &'a F, bytes: u64) -> Window<'a, F> {
        Window { file, bytes, buffer: Vec::new(), start: 0 }
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `length` bytes from `offset`; `None` when the file ends before.
    pub fn slice(&mut self, offset: u64, length: u64) -> io::Result<Option<&[u8]>> {
        if length > self.bytes || offset > self.bytes - length {
            return Ok(None);
        }
        let held = self.start..=self.start + self.buffer.len() as u64;
        if !(held.contains(&offset) && held.contains(&(offset + length))) {
            let fill = length.max(BLOCK_BYTES).min(self.bytes - offset);
            self.buffer.resize(fill as usize, 0);
            self.start = offset;
            if let Err(error) = self.file.read_at(offset, &mut self.buffer) {
                self.buffer.clear();
                return Err(error);
            }
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.buffer[from..from + length as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(name(7), "00000000000000000007.log");
        for n in [1, 7, u32::MAX] {
            assert_eq!(number(&name(n)), Some(n));
        }
        for other in ["lost+found", "7.log", "00000000000000000007.tmp", "99999999999999999999.log"]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
