//! Small text files that know when they are damaged: lines, then `crc <8 hex digits>`.
//!
//! Not here: what the lines say, or how a file gets to the disk (`files`).

/// `text` with its seal. `text` is whole lines, each ended by a line feed.
pub(crate) fn seal(text: &str) -> Vec<u8> {
    debug_assert!(text.ends_with('\n'), "sealed text is whole lines");
    format!("{text}crc {:08x}\n", crc32c::crc32c(text.as_bytes())).into_bytes()
}

/// The lines under an intact seal, without it; `None` when a single bit is off.
pub(crate) fn unseal(bytes: &[u8]) -> Option<&str> {
    let all = std::str::from_utf8(bytes).ok()?;
    let at = all.strip_suffix('\n')?.rfind('\n')? + 1;
    let (text, seal) = all.split_at(at);
    let crc = format!("crc {:08x}\n", crc32c::crc32c(text.as_bytes()));
    (seal == crc).then_some(text)
}

/// The lines of `unseal`, each without its line feed and with nothing else taken off.
pub(crate) fn lines(bytes: &[u8]) -> Option<impl Iterator<Item = &str>> {
    unseal(bytes).map(|text| text.split_terminator('\n'))
}

/// A decimal number in the one form it is written in: no sign, no zeros before it.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for other in ["", "+1", "-1", "01", "00", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(number(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_carriage_return_belongs_to_its_line() {
        let sealed = seal("node 1\r\n");
        let lines: Vec<&str> = lines(&sealed).expect("it is intact").collect();
        assert_eq!(lines, ["node 1\r"]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let sealed = seal("node 1\nboots 7\n");
        assert_eq!(unseal(&sealed), Some("node 1\nboots 7\n"));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&damaged), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..length]), None, "cut to {length}");
        }
    }
}
