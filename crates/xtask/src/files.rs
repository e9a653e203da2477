//! Rules for single files: a header, a bounded length, and words that never reach the main line.

use std::fs;

use anyhow::Result;

use crate::Finding;
use crate::source;
use crate::workspace::Workspace;

/// No file is longer. The goal is 60 to 250 lines.
const LINES_MAX: usize = 700;

/// Never in any code, tests included.
const NEVER: &[(&str, &str)] = &[
    ("todo!", "write it, or refuse with an error"),
    ("unimplemented!", "write it, or refuse with an error"),
    ("dbg!", "left from a search for a bug"),
    ("#[ignore", "assert today's answer and say that it is wrong"),
    ("allow(dead_code)", "remove the code"),
    ("allow(clippy", "mend what the lint found"),
    ("allow(unused", "remove what is unused"),
];

/// Never in product code.
const NEVER_IN_PRODUCT: &[(&str, &str)] =
    &[(".unwrap()", "use expect(\"why it cannot fail\") or return the error")];

/// Never in a comment, nor anywhere else.
const NEVER_IN_TEXT: &[&str] = &["FIXME", "XXX", "TODO"];

/// Folders of a crate that hold Rust.
const PARTS: &[&str] = &["src", "tests", "examples", "benches"];

pub fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in &workspace.crates {
        let ratchet = package.rules.as_ref().and_then(|rules| rules.lines_longest_file);
        let lines_max = ratchet.unwrap_or(LINES_MAX).min(LINES_MAX);
        for part in PARTS {
            for path in package.sources(part)? {
                // This file names the words it forbids.
                let rules_themselves = package.short == "xtask" && path.ends_with("src/files.rs");
                let text = fs::read_to_string(&path)?;
                let shown = workspace.shown(&path);
                findings.extend(header(&shown, &text));
                findings.extend(length(&shown, &text, lines_max));
                if !rules_themselves {
                    let product = *part == "src" && !source::is_test_file(&path);
                    findings.extend(words(&shown, product, &text));
                }
            }
        }
    }
    Ok(findings)
}

/// One line about how long files are, and the five longest.
pub fn sizes(workspace: &Workspace) -> Result<String> {
    let mut lengths = Vec::new();
    for package in &workspace.crates {
        for part in PARTS {
            for path in package.sources(part)? {
                lengths.push((fs::read_to_string(&path)?.lines().count(), workspace.shown(&path)));
            }
        }
    }
    lengths.sort();
    if lengths.is_empty() {
        return Ok("no files".to_owned());
    }
    let at = |percent: usize| lengths[(lengths.len() - 1) * percent / 100].0;
    let longest: Vec<String> =
        lengths.iter().rev().take(5).map(|(lines, path)| format!("{path} {lines}")).collect();
    Ok(format!(
        "{} files, {} lines; median {}, 95 % {}; longest: {}",
        lengths.len(),
        lengths.iter().map(|(lines, _)| lines).sum::<usize>(),
        at(50),
        at(95),
        longest.join(", ")
    ))
}

fn header(shown: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"))?;
    if first.starts_with("//!") {
        return None;
    }
    Some(Finding::new(shown, "does not open with a //! header: what it is, what it is not"))
}

fn length(shown: &str, text: &str, lines_max: usize) -> Option<Finding> {
    let lines = text.lines().count();
    if lines <= lines_max {
        return None;
    }
    Some(Finding::new(shown, format!("{lines} lines; at most {lines_max}: which noun is missing?")))
}

fn words(shown: &str, product: bool, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code: &str, word: &str, advice: &str| {
        for (number, line) in code.lines().enumerate() {
            if line.contains(word) {
                let place = format!("{shown}:{}", number + 1);
                findings.push(Finding::new(place, format!("{word}: {advice}")));
            }
        }
    };
    let code = source::code_only(text);
    for (word, advice) in NEVER {
        find(&code, word, advice);
    }
    if product {
        let product = source::product_code(text);
        for (word, advice) in NEVER_IN_PRODUCT {
            find(&product, word, advice);
        }
    }
    for word in NEVER_IN_TEXT {
        find(text, word, "finish it, or write an issue");
    }
    findings
}
