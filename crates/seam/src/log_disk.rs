//! The files of a log, and what a crash does to them.
//!
//! Not here: records, checksums, segments (crate `log`).
//! Contract: what was written before a `sync` that returned survives any crash; what was not
//! may be lost, whole or in part, at any byte. A failed `sync` is final: the caller stops, since
//! a second one would answer for pages the kernel has already forgotten.

use std::io;

/// One directory of flat files. Every call blocks; callers run it off the async threads.
pub trait LogDisk: Send + Sync + 'static {
    type File: LogFile;

    /// Names of all files, in ascending order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new file of `bytes` zero bytes, allocated on the device. Durable, name included,
    /// when this returns. Fails with `AlreadyExists`, or `StorageFull` (nothing is left behind).
    fn create(&self, name: &str, bytes: u64) -> io::Result<Self::File>;

    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Removes a file; durable when this returns.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Bytes that can still be allocated on the device.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A file of fixed size, written anywhere inside it.
pub trait LogFile: Send + Sync + 'static {
    fn bytes(&self) -> io::Result<u64>;

    /// Writes all of `data` at `offset`. Not durable.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Fills all of `into` from `offset`; `UnexpectedEof` past the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Makes every earlier write to this file durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
}
