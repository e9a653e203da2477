//! The rules of the house, checked and applied: `xtask tidy` and `xtask generate`.
//!
//! Not here: anything that is shipped, and what other tools check already (format, lints,
//! licenses). `tidy` reads only; `generate` writes only files that say so in their first line.

mod crates;
mod documents;
mod features;
mod files;
mod generate;
mod source;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use workspace::Workspace;

const USAGE: &str = "usage: xtask tidy | generate";

/// A broken rule, with the place to look at.
pub struct Finding {
    /// `path:line`, or a path, or a crate.
    pub place: String,
    pub what: String,
}

impl Finding {
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { place: place.into(), what: what.into() }
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    if arguments.next().is_some() {
        bail!(USAGE);
    }
    match command.as_deref() {
        Some("tidy") => tidy(&Workspace::load()?),
        Some("generate") => {
            let workspace = Workspace::load()?;
            for document in generate::documents(&workspace)? {
                document.write()?;
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!(USAGE),
    }
}

/// Runs every rule and prints every finding; the sizes are printed in any case.
fn tidy(workspace: &Workspace) -> Result<ExitCode> {
    let mut findings = Vec::new();
    findings.extend(crates::check(workspace)?);
    findings.extend(files::check(workspace)?);
    findings.extend(documents::check(workspace)?);
    findings.extend(features::check(workspace)?);
    for document in generate::documents(workspace)? {
        findings.extend(document.difference());
    }
    println!("{}", files::sizes(workspace)?);
    for finding in &findings {
        println!("{}: {}", finding.place, finding.what);
    }
    if findings.is_empty() {
        println!("tidy: all rules hold");
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}
