//! Just enough of Rust's grammar to tell code from comments, text and tests.
//!
//! Invariant: every function keeps the number of lines, so a line found is a line to look at.

use std::path::Path;

/// `source` with comments, and the insides of string and character literals, made blank.
pub fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut kept = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(bytes, at);
        for byte in &mut kept[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(kept).expect("only whole literals and comments were made blank")
}

/// Whether the file holds tests alone, by its name: `tests.rs`, `wire_tests.rs`, `tests/…`.
pub fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let in_folder = path.parent().is_some_and(|folder| folder.ends_with("tests"));
    stem == "tests" || stem.ends_with("_tests") || in_folder
}

/// Code of the product alone: `code_only`, cut off where the file's own tests begin.
pub fn product_code(source: &str) -> String {
    let code = code_only(source);
    match test_module(&code) {
        Some(at) => code[..at].to_owned(),
        None => code,
    }
}

/// 1-based lines of `code` on which `word` stands, not as a part of a longer name.
///
/// A path `std::fs` is also found in `use std::{fs, io}`.
pub fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let mut lines: Vec<usize> = occurrences(code, word).map(|at| line_of(code, at)).collect();
    if let Some((first, rest)) = word.split_once("::") {
        lines.extend(grouped(code, first, rest));
    }
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// Where `#[cfg(test)]` stands before a module.
fn test_module(code: &str) -> Option<usize> {
    code.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|&at| {
        let next = code[at..].lines().skip(1).find(|line| !line.trim().is_empty());
        next.is_some_and(|line| line.trim().starts_with("mod ") && line.contains('{'))
    })
}

fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// Lines of `first::{…}` whose group names `rest` at its top level.
fn grouped(code: &str, first: &str, rest: &str) -> Vec<usize> {
    let opening = format!("{first}::{{");
    let mut lines = Vec::new();
    for (at, _) in code.match_indices(&opening) {
        let inside = &code[at + opening.len()..];
        let mut depth = 0;
        let mut item_starts = true;
        for (offset, character) in inside.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item_starts = true,
                _ if character.is_whitespace() => {}
                _ if depth == 0 && item_starts => {
                    item_starts = false;
                    if occurrences(inside, rest).any(|found| found == offset) {
                        lines.push(line_of(code, at));
                    }
                }
                _ => {}
            }
        }
    }
    lines
}

fn part_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// End of the comment or literal that begins at `at`; `at` itself when none does.
fn skipped(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    if rest[0] == b'"' {
        return at + quoted(rest, b'"');
    }
    if rest[0] == b'r' && !at.checked_sub(1).is_some_and(|i| part_of_name(bytes[i] as char)) {
        return at + raw_string(&rest[1..]).map_or(0, |length| length + 1);
    }
    if rest[0] == b'b' && rest.get(1) == Some(&b'r') {
        return at + raw_string(&rest[2..]).map_or(0, |length| length + 2);
    }
    if rest[0] == b'\'' && is_character(rest) {
        return at + quoted(rest, b'\'');
    }
    at
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a literal that begins with `quote`, with its quotes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of `#…#"…"#…#`; `None` when this is a raw identifier or no literal.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|&&b| b == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.resize(hashes + 1, b'#');
    let body = &rest[hashes + 1..];
    let length = body.windows(closing.len()).position(|window| window == closing);
    Some(hashes + 1 + length.map_or(body.len(), |at| at + closing.len()))
}

/// Tells `'x'` and `'\n'` from the lifetime `'x`.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(&first) => {
            let length = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                0xf0.. => 4,
            };
            rest.get(1 + length) == Some(&b'\'')
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_text_are_no_code() {
        let source = "// tokio\nlet a = \"tokio \\\" tokio\"; /* tokio /* x */ tokio */ tokio();";
        assert_eq!(lines_with(&code_only(source), "tokio"), [2]);
        assert_eq!(occurrences(&code_only(source), "tokio").count(), 1);
        assert!(!code_only("let a = r#\"tokio \" tokio\"#;").contains("tokio"));
        assert!(!code_only("let a = br\"tokio\";").contains("tokio"));
    }

    #[test]
    fn lifetimes_and_characters_are_told_apart() {
        let code = code_only("fn f<'a>(x: &'a str) -> char { '\"' } let t = 'ü'; tokio");
        assert!(code.contains("<'a>") && code.contains("&'a str"));
        assert!(code.ends_with("tokio"), "the quote in '\"' opened no text: {code}");
    }

    #[test]
    fn words_are_whole_and_groups_are_opened() {
        assert!(lines_with("use openraft_rt_tokio::X;", "tokio").is_empty());
        assert_eq!(lines_with("use std::{io, fs::File};", "std::fs"), [1]);
        assert!(lines_with("use std::{io::{fs, b}, sync};", "std::fs").is_empty());
        assert_eq!(lines_with("\nuse std::fs::File;", "std::fs"), [2]);
    }

    #[test]
    fn tests_of_a_file_are_not_its_product() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n use tokio; }\n";
        assert!(!product_code(source).contains("tokio"));
        let late = "#[cfg(test)]\nfn helper() {}\nfn a() { tokio }\n";
        assert!(product_code(late).contains("tokio"));
    }
}
