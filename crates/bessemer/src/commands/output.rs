//! How answers are shown: JSON for programs, lines for people.

use std::fmt::Display;
use std::io::{self, Write};
use std::process;

use serde_json::Value;

/// The exit status of a program whose reader went away: 128 and the number of SIGPIPE.
const READER_GONE: i32 = 141;

/// Writes `answer` as one line of JSON, or as `text` makes it.
pub fn show(json: bool, answer: &Value, text: impl FnOnce(&Value) -> String) {
    if json {
        print(answer);
    } else {
        let text = text(answer);
        if !text.is_empty() {
            print(text);
        }
    }
}

/// Writes `text` and the end of a line. A reader that went away, as `head` does, ends the program
/// without a word.
pub fn print(text: impl Display) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(READER_GONE),
        Err(error) => {
            eprintln!("error: cannot write to standard output: {error}");
            process::exit(1);
        }
    }
}

/// The rows of the array `key` of `answer`; empty when there is none.
pub fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field as text: strings without quotes, `-` for what is missing.
pub fn field(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Columns under their names, each as wide as its widest cell.
pub fn table(names: &[&str], rows: &[Value]) -> String {
    let mut cells: Vec<Vec<String>> = vec![names.iter().map(|n| n.to_uppercase()).collect()];
    cells.extend(rows.iter().map(|row| names.iter().map(|name| field(row, name)).collect()));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..names.len()).filter_map(width).collect();
    let lines = cells.iter().map(|row| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [json!({"id": 1, "name": "long name"}), json!({"id": 20, "name": null})];
        assert_eq!(table(&["id", "name"], &rows), "ID  NAME\n1   long name\n20  -");
    }
}
