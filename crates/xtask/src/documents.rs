//! Rules for documents: what they name exists, and every error code has its page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Finding;
use crate::workspace::Workspace;

/// A word in backticks that begins so is a path of this repository.
const ROOTS: &[&str] =
    &["crates/", "docs/", "tests/", "jepsen/", "proto/", "deploy/", ".ci/", ".config/"];

/// What every page of `docs/errors` has.
const SECTIONS: &[&str] = &["## Cause", "## Remedy", "## On each door"];

pub fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in markdown(&workspace.root)? {
        let text = fs::read_to_string(&path)?;
        findings.extend(named_paths(workspace, &path, &text));
        findings.extend(links(workspace, &path, &text));
    }
    findings.extend(crates_on_the_map(workspace)?);
    findings.extend(error_pages(workspace)?);
    Ok(findings)
}

/// Where the stable codes stand that machines read: rejections, then refusals at the doors.
pub const REJECTIONS: &str = "crates/model/src/rejection.rs";
const REFUSALS: &str = "crates/gateway/src/respond.rs";

/// The texts in `fn code` of the file `shown`, in the order of the source.
pub fn codes(workspace: &Workspace, shown: &str) -> Result<Vec<String>> {
    let path = workspace.root.join(shown);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let body = text.split("pub fn code(").nth(1);
    let body = body.with_context(|| format!("{shown} has no fn code"))?;
    let body = body.split("\n    }\n").next().unwrap_or(body);
    Ok(body.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Markdown at the root, in `docs` and in the folders of tests.
fn markdown(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "docs/errors", "docs/reference", "jepsen"] {
        let folder = root.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn named_paths(workspace: &Workspace, path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2) {
            let is_path = ROOTS.iter().any(|root| word.starts_with(root));
            let is_pattern = word.contains(['*', '<', ' ', '{', '…']);
            if is_path && !is_pattern && !workspace.root.join(word).exists() {
                let place = format!("{}:{}", workspace.shown(path), number + 1);
                findings.push(Finding::new(place, format!("names {word}, which does not exist")));
            }
        }
    }
    findings
}

/// Relative links `[text](path)` lead somewhere.
fn links(workspace: &Workspace, path: &Path, text: &str) -> Vec<Finding> {
    let folder = path.parent().unwrap_or(&workspace.root);
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or("");
            let outside = target.is_empty() || target.contains("://");
            if !outside && !folder.join(target).exists() {
                let place = format!("{}:{}", workspace.shown(path), number + 1);
                findings.push(Finding::new(place, format!("links to {target}, which is missing")));
            }
        }
    }
    findings
}

fn crates_on_the_map(workspace: &Workspace) -> Result<Vec<Finding>> {
    let path = workspace.root.join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).context("ARCHITECTURE.md")?;
    let missing = workspace
        .crates
        .iter()
        .filter(|package| !text.contains(&format!("`crates/{}`", package.short)))
        .map(|package| {
            let what = format!("does not name `crates/{}`", package.short);
            Finding::new("ARCHITECTURE.md", what)
        });
    Ok(missing.collect())
}

fn error_pages(workspace: &Workspace) -> Result<Vec<Finding>> {
    let folder = workspace.root.join("docs/errors");
    let mut findings = Vec::new();
    let mut pages = page_names(&folder)?;
    for source in [REJECTIONS, REFUSALS] {
        for code in codes(workspace, source)? {
            let page = folder.join(format!("{code}.md"));
            if pages.remove(&code) {
                let text = fs::read_to_string(&page)?;
                findings.extend(page_form(workspace, &page, &code, &text));
            } else {
                let what = format!("{code} has no page docs/errors/{code}.md");
                findings.push(Finding::new(source, what));
            }
        }
    }
    for code in pages {
        findings.push(Finding::new(format!("docs/errors/{code}.md"), "is of no code there is"));
    }
    Ok(findings)
}

/// Codes that have a page.
pub fn page_names(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        names.extend(name.filter(|name| name != "README"));
    }
    Ok(names)
}

fn page_form(workspace: &Workspace, page: &Path, code: &str, text: &str) -> Vec<Finding> {
    let lines: BTreeSet<&str> = text.lines().collect();
    let title = format!("# {code}");
    let expected = std::iter::once(title.as_str()).chain(SECTIONS.iter().copied());
    expected
        .filter(|line| !lines.contains(line))
        .map(|line| Finding::new(workspace.shown(page), format!("has no line {line:?}")))
        .collect()
}
