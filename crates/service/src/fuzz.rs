//! What holds for any bytes, as functions that panic when it does not: run by `fuzz/` and by the
//! tests here, over the same corpus.

use crate::authorize::Secret;

/// Input: text that may be a token. What is read is shown as the very same text.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(secret) = Secret::parse(text) {
        assert_eq!(secret.show(), text, "a token has one form");
    }
}

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn a_token_is_shown_as_it_was_read() {
        check("ids", 5000, super::token);
    }
}
