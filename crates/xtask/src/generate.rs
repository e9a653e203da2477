//! Reference documents written from the code, so that they are reviewed as differences.
//!
//! `tidy` fails when one of them is not what this would write.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::Finding;
use crate::documents::{REJECTIONS, codes, page_names};
use crate::workspace::Workspace;

const FIRST_LINE: &str = "<!-- Written by `./dev fix` from the code; edit the code instead. -->";

/// A document as it should be.
pub struct Document {
    path: PathBuf,
    shown: String,
    text: String,
}

impl Document {
    /// Writes it if it differs.
    pub fn write(&self) -> Result<()> {
        if self.difference().is_none() {
            return Ok(());
        }
        let folder = self.path.parent().context("a document stands in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&self.path, &self.text).with_context(|| self.path.display().to_string())?;
        println!("wrote {}", self.shown);
        Ok(())
    }

    /// A finding when the file on disk is another text or missing.
    pub fn difference(&self) -> Option<Finding> {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            return None;
        }
        Some(Finding::new(&self.shown, "is not what the code says; run ./dev fix"))
    }
}

pub fn documents(workspace: &Workspace) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for (shown, body) in [
        ("docs/errors/README.md", errors(workspace)?),
        ("docs/reference/metrics.md", metrics(workspace)?),
        ("docs/reference/limits.md", limits(workspace)?),
    ] {
        documents.push(Document {
            path: workspace.root.join(shown),
            shown: shown.to_owned(),
            text: format!("{FIRST_LINE}\n\n{body}"),
        });
    }
    Ok(documents)
}

/// One line per page of `docs/errors`: the rejections in the order of the source, then the rest.
fn errors(workspace: &Workspace) -> Result<String> {
    let folder = workspace.root.join("docs/errors");
    let mut pages = BTreeMap::new();
    for name in page_names(&folder)? {
        let text = fs::read_to_string(folder.join(format!("{name}.md")))?;
        pages.insert(name, first_sentence(&text));
    }
    let mut body = "# Errors\n\nRejections are decided by the log: the same answer for ever. \
                    Everything else is decided at the door.\n\n"
        .to_owned();
    body.push_str("## Rejections\n\n| code | what happened |\n|---|---|\n");
    for code in codes(workspace, REJECTIONS)? {
        let sentence = pages.remove(&code).unwrap_or_default();
        body.push_str(&format!("| [{code}]({code}.md) | {sentence} |\n"));
    }
    body.push_str(
        "\n## Failures and refusals at the door\n\n| code | what happened |\n|---|---|\n",
    );
    for (code, sentence) in pages {
        body.push_str(&format!("| [{code}]({code}.md) | {sentence} |\n"));
    }
    Ok(body)
}

/// First line of text below the title.
fn first_sentence(page: &str) -> String {
    let line = page.lines().skip(1).find(|line| !line.trim().is_empty());
    line.unwrap_or_default().to_owned()
}

/// Every metric that is registered in the source, with the help text given there.
fn metrics(workspace: &Workspace) -> Result<String> {
    let mut found = BTreeMap::new();
    for package in workspace.crates.iter().filter(|package| package.short != "xtask") {
        for path in package.sources("src")? {
            for (name, help) in registered(&fs::read_to_string(&path)?) {
                found.entry(name).or_insert((help, workspace.shown(&path)));
            }
        }
    }
    let mut body = "# Metrics\n\nServed as Prometheus text by `/metrics` on each node's ops port. \
                    Counters end in `_total` there, and a unit is added to the name.\n\n\
                    | name | meaning | source |\n|---|---|---|\n"
        .to_owned();
    for (name, (help, place)) in found {
        body.push_str(&format!("| `{name}` | {help} | `{place}` |\n"));
    }
    Ok(body)
}

/// `"bessemer_…", "help"` as arguments of a call: the name and the help.
fn registered(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("\"bessemer_") {
        let mut parts = text[at + 1..].splitn(4, '"');
        let (name, between, help) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(between), Some(help)) = (name, between, help) else { continue };
        if between.trim() == "," && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            // A long text goes on in the next line after a backslash.
            let words: Vec<&str> = help.split(['\\', '\n']).map(str::trim).collect();
            found.push((name.to_owned(), words.join(" ").trim().replace("  ", " ")));
        }
    }
    found
}

fn doc_above(lines: &[&str]) -> String {
    let mut words: Vec<&str> = lines
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("//"))
        .map(|line| line.trim_start_matches('/').trim())
        .collect();
    words.reverse();
    words.join(" ")
}

/// The public bounds of the model, with their comments.
fn limits(workspace: &Workspace) -> Result<String> {
    let path = workspace.root.join("crates/model/src/limits.rs");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines: Vec<&str> = text.lines().collect();
    let mut body = "# Limits\n\n| bound | value | meaning |\n|---|---|---|\n".to_owned();
    let mut doc = String::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(rest) = line.strip_prefix("pub const ") else { continue };
        let (name, value) = rest.split_once(':').context("a constant has a type")?;
        let value = value.split_once('=').map_or("", |(_, value)| value).trim();
        let own = doc_above(&lines[..number]);
        // Constants that follow each other share the comment above the first.
        if !own.is_empty() {
            doc = own;
        }
        body.push_str(&format!("| `{name}` | `{}` | {doc} |\n", value.trim_end_matches(';')));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_names_followed_by_their_help() {
        let text = "register(\n \"bessemer_log_syncs\",\n \"Syncs of \\\n  the log\", x);\n\
                    env(\"bessemer_dir\");";
        let expected = ("bessemer_log_syncs".to_owned(), "Syncs of the log".to_owned());
        assert_eq!(registered(text), [expected]);
    }

    #[test]
    fn comments_above_a_line_become_its_meaning() {
        let lines = ["let a = 1;", "    /// Syncs of the log,", "    /// since start."];
        assert_eq!(doc_above(&lines), "Syncs of the log, since start.");
        assert_eq!(first_sentence("# Title\n\nIt happened.\n\n## Cause\n"), "It happened.");
    }
}
