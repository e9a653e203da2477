//! The workspace as cargo describes it: crates, what they hold, what they may import.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// All crates of the checkout this program was built from.
pub struct Workspace {
    pub root: PathBuf,
    /// In ascending order of folder name.
    pub crates: Vec<Crate>,
}

pub struct Crate {
    /// Package name, `bessemer-log`.
    pub name: String,
    /// Folder name below `crates/`, `log`: the name the rules use.
    pub short: String,
    pub folder: PathBuf,
    /// What stands under `[package.metadata.bessemer]`; `None` when the table is missing.
    pub rules: Option<Rules>,
    /// Package names of dependencies that are linked into the crate (normal and build).
    pub dependencies: Vec<String>,
}

pub struct Rules {
    pub holds: String,
    pub never: Vec<String>,
    /// Short names of our crates.
    pub may_import: Vec<String>,
    /// Optional ratchet: the longest file of the crate may have this many lines.
    pub lines_longest_file: Option<usize>,
}

impl Workspace {
    /// Asks cargo; needs no network.
    pub fn load() -> Result<Workspace> {
        let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .output()
            .context("running cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let root = PathBuf::from(text(&answer, "workspace_root")?);
        let mut crates = Vec::new();
        for package in list(&answer, "packages")? {
            crates.push(Crate::from_package(package)?);
        }
        crates.sort_by(|a, b| a.short.cmp(&b.short));
        Ok(Workspace { root, crates })
    }

    /// `path` below the root, for messages.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

impl Crate {
    fn from_package(package: &Value) -> Result<Crate> {
        let manifest = PathBuf::from(text(package, "manifest_path")?);
        let folder = manifest.parent().context("a manifest has a folder")?.to_path_buf();
        let short = folder.file_name().context("a crate's folder has a name")?;
        let mut dependencies = Vec::new();
        for dependency in list(package, "dependencies")? {
            if dependency["kind"].as_str() != Some("dev") {
                dependencies.push(text(dependency, "name")?);
            }
        }
        Ok(Crate {
            name: text(package, "name")?,
            short: short.to_string_lossy().into_owned(),
            rules: Rules::from_metadata(&package["metadata"]["bessemer"]),
            folder,
            dependencies,
        })
    }

    /// Every `.rs` file of the crate below `part` (`src`, `tests`, …), in order of path.
    pub fn sources(&self, part: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let folder = self.folder.join(part);
        if folder.is_dir() {
            collect(&folder, &mut found)?;
        }
        found.sort();
        Ok(found)
    }
}

impl Rules {
    fn from_metadata(table: &Value) -> Option<Rules> {
        let words = |key: &str| -> Option<Vec<String>> {
            let items = table[key].as_array()?;
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        };
        Some(Rules {
            holds: table["holds"].as_str()?.to_owned(),
            never: words("never")?,
            may_import: words("may_import")?,
            lines_longest_file: table["lines_longest_file"].as_u64().map(|n| n as usize),
        })
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value[key].as_str();
    Ok(text.with_context(|| format!("cargo metadata gave no text {key:?}"))?.to_owned())
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata gave no list {key:?}"))
}
