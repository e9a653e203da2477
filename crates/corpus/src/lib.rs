//! The committed corpus of a fuzz target, run as a test that is the same each time.
//!
//! Not here: the targets (`fuzz` in each crate that decodes) and the search for new inputs
//! (`fuzz/`, with libFuzzer). A target is a function of bytes that panics when a property is
//! broken; both run the same functions.
//! Invariants: what is run depends on the corpus alone; an input takes a bounded amount of memory.

mod heap;
mod mutate;

use std::fs;
use std::path::PathBuf;

pub use heap::{Heap, peak_bytes};
pub use mutate::Mutator;

/// What any input may take of memory: a fixed part (buffers, a node of the gateway's tests) and a
/// part that grows with it. A command takes a byte in an entry and some 150 in memory, while a
/// list grows three times that, and a target holds the value, its bytes and the value again.
const HEAP_BYTES_FIXED: usize = 4 << 20;
const HEAP_BYTES_PER_BYTE: usize = 2048;

/// Runs `target` on every file of `fuzz/corpus/<name>` and on `mutations` changes of each.
///
/// Panics as the target does, after the input was printed; and when there is no corpus, or an
/// input took more memory than its length allows.
pub fn check(name: &str, mutations: u64, mut target: impl FnMut(&[u8])) {
    let corpus = corpus(name);
    let files: Vec<Vec<u8>> = corpus.iter().map(|(_, bytes)| bytes.clone()).collect();
    for (file, bytes) in &corpus {
        run(name, file, 0, bytes, &mut target);
        let mut mutator = Mutator::new(bytes);
        for number in 1..=mutations {
            run(name, file, number, &mutator.mutate(bytes, &files), &mut target);
        }
    }
}

/// Runs `target` on `input`; panics when that took more memory than its length allows. Nothing is
/// measured unless the program's allocator is `Heap`.
pub fn bounded(input: &[u8], target: impl FnOnce(&[u8])) {
    let peak = peak_bytes(|| target(input));
    let most = HEAP_BYTES_FIXED + HEAP_BYTES_PER_BYTE * input.len();
    assert!(peak <= most, "{} bytes took {peak} bytes of memory, {most} are allowed", input.len());
}

/// The files of the target's corpus, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../fuzz/corpus", name].iter().collect();
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("the corpus {} cannot be read: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.expect("a folder that was opened can be listed");
        let bytes = fs::read(entry.path()).expect("a file of the corpus can be read");
        files.push((entry.file_name().to_string_lossy().into_owned(), bytes));
    }
    assert!(!files.is_empty(), "the corpus {} is empty", folder.display());
    files.sort();
    files
}

fn run(name: &str, file: &str, number: u64, input: &[u8], target: &mut impl FnMut(&[u8])) {
    let told = Told { name, file, number, input };
    bounded(input, |input| target(input));
    drop(told);
}

/// Keeps the input when the test fails while it runs, and says how to repeat it.
struct Told<'a> {
    name: &'a str,
    file: &'a str,
    number: u64,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Told { name, file, number, input } = self;
        eprintln!("target {name}, change {number} of {file}: {}", input.escape_ascii());
        let path = std::env::temp_dir().join(format!("bessemer-{name}.input"));
        match fs::write(&path, input) {
            Ok(()) => eprintln!("repeat: ./dev fuzz {name} {}", path.display()),
            Err(error) => eprintln!("it could not be kept in {}: {error}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn what_is_run_is_the_same_each_time() {
        let inputs = || {
            let mut mutator = Mutator::new(b"seed");
            let others = vec![b"other".to_vec()];
            (0..500).map(|_| mutator.mutate(b"seed", &others)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(), inputs());
    }

    #[test]
    fn a_bug_one_bit_away_is_found() {
        let mut mutator = Mutator::new(b"seed");
        let found = (0..2000).any(|_| mutator.mutate(b"seed", &[]) == b"Seed");
        assert!(found);
    }

    #[test]
    fn memory_beyond_the_input_is_noticed() {
        bounded(b"1", |_| drop(Vec::<u8>::with_capacity(1 << 20)));
        let greedy = || bounded(b"1", |_| drop(Vec::<u8>::with_capacity(64 << 20)));
        assert!(std::panic::catch_unwind(greedy).is_err());
    }

    #[test]
    fn memory_given_back_counts_once() {
        let peak = peak_bytes(|| (0..100).for_each(|_| drop(vec![1_u8; 1 << 16])));
        assert!((1 << 16..1 << 17).contains(&peak), "{peak}");
    }
}
