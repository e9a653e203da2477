//! What holds for any bytes, as functions that panic when it does not: run by `fuzz/` and by the
//! tests here, over the same corpus.

use crate::{MessageId, ReservationId};

/// Input: text that may be an id. What is read is shown as text that reads the same; an id of 32
/// digits is the text it came from, but for the case of letters.
pub fn ids(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<MessageId>() {
        assert!(text.len() <= 20, "a message id has at most 20 digits");
        let shown = id.to_string();
        assert_eq!(shown.parse(), Ok(id));
        assert_eq!(shown.trim_start_matches('0'), text.trim_start_matches('0'));
    }
    if let Ok(id) = text.parse::<ReservationId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(ReservationId::new(id.generation(), id.touch(), id.mac()), id);
    }
}

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn an_id_is_shown_as_it_was_read() {
        check("ids", 5000, super::ids);
    }
}
