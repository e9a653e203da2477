//! What holds for any bytes, as functions that panic when it does not: run by `fuzz/` and by the
//! tests here, over the same corpus.

mod record;
mod segments;

pub use record::record;
pub use segments::segments;

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn a_body_is_one_record_or_none() {
        check("log_record", 5000, super::record);
    }

    #[test]
    fn a_damaged_log_never_shows_what_was_not_written() {
        check("log_segments", 400, super::segments);
    }
}
