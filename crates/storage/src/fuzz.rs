//! What holds for any bytes in our small files, as a function that panics when it does not: run by
//! `fuzz/` and by the test here, over the same corpus.
//!
//! `fuzz/fuzz_targets/storage_file.rs` compiles this file, and those it names, without RocksDB.

use crate::state::{manifest, pointer};
use crate::{boot, sealed};

/// Input: a file, or its text before it was sealed. A manifest, a pointer and an identity begin
/// with different lines, so at most one of them reads it.
pub fn file(bytes: &[u8]) {
    check(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check(&sealed::seal(&format!("{text}\n")));
    if text.ends_with('\n') {
        let sealed = sealed::seal(text);
        assert_eq!(sealed::unseal(&sealed), Some(text), "a seal opens to what was sealed");
        check(&sealed);
    }
}

fn check(bytes: &[u8]) {
    manifest::check_form(bytes);
    pointer::check_form(bytes);
    boot::check_form(bytes);
}

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn a_file_has_one_form_or_is_refused() {
        check("storage_file", 5000, super::file);
    }
}
