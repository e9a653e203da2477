//! What all fuzz targets share: libFuzzer's entry, and a bound on the memory an input may take.
//!
//! Not here: properties; they stand in `fuzz` of the crate whose bytes are read.

pub use bessemer_corpus::{Heap, bounded};
pub use libfuzzer_sys::fuzz_target;

/// Makes a function of bytes the target of this program.
#[macro_export]
macro_rules! target {
    ($target:expr) => {
        #[global_allocator]
        static HEAP: $crate::Heap = $crate::Heap;

        $crate::fuzz_target!(|input: &[u8]| $crate::bounded(input, $target));
    };
}
