//! RocksDB takes a quarter of an hour to compile; it is compiled once, whatever is built.
//!
//! Cargo unites the features of build dependencies over the packages it builds. If another choice
//! of packages asks more of the libraries RocksDB's build script uses, the script is another
//! program and runs again. So every choice must give them the same features; the lines under
//! `[build-dependencies]` of `crates/storage/Cargo.toml` see to that.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Finding;
use crate::workspace::Workspace;

/// What people and `./dev` build: packages, and whether tests are among it.
const CHOICES: &[(&[&str], &str)] = &[
    (&["--package", "bessemer-storage"], "normal,build"),
    (&["--package", "bessemer"], "normal,build"),
    (&["--workspace"], "normal,build"),
    (&["--workspace"], "normal,build,dev"),
];

/// Linked into the product beside the build script, so its features do not matter here.
const TARGET_SIDE: &[(&str, &str)] = &[("librocksdb-sys", "libc"), ("lz4-sys", "libc")];

pub fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let has_storage = workspace.crates.iter().any(|package| package.name == "bessemer-storage");
    if !has_storage {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for (packages, edges) in CHOICES {
        all.push(build_script_libraries(&tree(packages, edges)?));
    }
    let union: BTreeSet<&String> = all.iter().flatten().collect();
    let names: BTreeSet<&str> = union
        .into_iter()
        .filter(|line| !all.iter().all(|libraries| libraries.contains(*line)))
        .filter_map(|line| line.split(' ').next())
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = names.into_iter().collect();
    let what = format!(
        "RocksDB would be compiled more than once: choices of packages differ in the features of \
         {}; name the largest set under [build-dependencies]",
        names.join(", ")
    );
    Ok(vec![Finding::new("crates/storage/Cargo.toml", what)])
}

fn tree(packages: &[&str], edges: &str) -> Result<String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["tree", "--offline", "--no-dedupe", "--prefix", "depth", "--format", " {p} [{f}]"])
        .args(["--edges", edges])
        .args(packages)
        .output()
        .context("running cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `name version [features]` of everything below `librocksdb-sys` in the output of `cargo tree`.
fn build_script_libraries(tree: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Names from the root to the current line.
    let mut path: Vec<&str> = Vec::new();
    for line in tree.lines() {
        let Some((depth, package)) = line.split_once(' ') else { continue };
        let Ok(depth) = depth.parse::<usize>() else { continue };
        let name = package.split(' ').next().unwrap_or(package);
        path.truncate(depth);
        let parent = path.last().copied().unwrap_or_default();
        let below = path.contains(&"librocksdb-sys");
        if below && !TARGET_SIDE.contains(&(parent, name)) {
            found.insert(package.replace("(proc-macro) ", ""));
        }
        path.push(name);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_build_script_uses_is_compared() {
        let tree = "0 bessemer v1 []\n1 libc v1 [a]\n1 rocksdb v1 []\n2 librocksdb-sys v1 []\n\
                    3 libc v1 [b]\n3 bindgen v1 [runtime]\n4 libc v1 [c]\n1 regex v1 [d]\n";
        let found: Vec<String> = build_script_libraries(tree).into_iter().collect();
        assert_eq!(found, ["bindgen v1 [runtime]", "libc v1 [c]"]);
    }
}
