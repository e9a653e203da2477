//! Bytes on a disk.
