//! What a crate never knows, and whom it may import: the tables in each `Cargo.toml` compared
//! with its dependencies and its source.
//!
//! A `never` word of one piece (`tokio`, `std::fs`, `HashMap`) may not stand in the crate's
//! product code; one with spaces is a sentence for people. Dev-dependencies are free, and so are
//! the programs in `src/bin` of a library: nobody imports them.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::Finding;
use crate::source;
use crate::workspace::{Crate, Rules, Workspace};

/// One outside library, one home. Further crates may hold a library only as told here.
const HOMES: &[(&str, &[&str])] = &[
    ("rocksdb", &["storage"]),
    // The program and the simulator each bring openraft's runtime; agreement lives in replica.
    ("openraft", &["replica", "simulator", "bessemer"]),
    ("axum", &["gateway"]),
    // The simulator's own programs have options, too.
    ("clap", &["bessemer", "simulator"]),
    ("bollard", &["runner"]),
];

pub fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in &workspace.crates {
        findings.extend(homes(package));
        match &package.rules {
            None => findings.push(Finding::new(
                manifest(package),
                "[package.metadata.bessemer] needs holds, never and may_import",
            )),
            Some(rules) => {
                findings.extend(imports(workspace, package, rules));
                findings.extend(never(workspace, package, rules)?);
            }
        }
    }
    Ok(findings)
}

fn homes(package: &Crate) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (library, homes) in HOMES {
        let used = package.dependencies.iter().any(|name| name == library);
        if used && !homes.contains(&package.short.as_str()) {
            let what = format!("imports {library}, whose home is {}", homes.join(" or "));
            findings.push(Finding::new(manifest(package), what));
        }
    }
    findings
}

fn imports(workspace: &Workspace, package: &Crate, rules: &Rules) -> Vec<Finding> {
    let mut findings = Vec::new();
    if rules.holds.trim().is_empty() {
        findings.push(Finding::new(manifest(package), "`holds` is empty"));
    }
    for name in &rules.may_import {
        if !workspace.crates.iter().any(|other| other.short == *name) {
            let what = format!("may_import names {name}, which is no crate here");
            findings.push(Finding::new(manifest(package), what));
        }
    }
    for other in &workspace.crates {
        let imported = package.dependencies.contains(&other.name);
        if imported && !rules.may_import.contains(&other.short) {
            let what = format!("imports {} without leave in may_import", other.short);
            findings.push(Finding::new(manifest(package), what));
        }
    }
    findings
}

fn never(workspace: &Workspace, package: &Crate, rules: &Rules) -> Result<Vec<Finding>> {
    let words: Vec<&String> = rules.never.iter().filter(|word| !word.contains(' ')).collect();
    let mut findings = Vec::new();
    for word in &words {
        if package.dependencies.contains(word) {
            let what = format!("depends on {word}, which it never knows");
            findings.push(Finding::new(manifest(package), what));
        }
    }
    let product = |path: &PathBuf| {
        !source::is_test_file(path) && !path.components().any(|part| part.as_os_str() == "bin")
    };
    for path in package.sources("src")?.into_iter().filter(product) {
        let code = source::product_code(&fs::read_to_string(&path)?);
        for word in &words {
            for line in source::lines_with(&code, word) {
                let place = format!("{}:{line}", workspace.shown(&path));
                findings.push(Finding::new(place, format!("{} never knows {word}", package.short)));
            }
        }
    }
    Ok(findings)
}

fn manifest(package: &Crate) -> String {
    format!("crates/{}/Cargo.toml", package.short)
}
