//! A node's configuration: defaults, file, environment, flags, in rising order.
//!
//! Not here: the keys (`keys.rs`), and what the values do.
//! Invariants: a key has one name in all layers; a secret is never printed; what `load` returns
//! has passed `check`.

mod check;
mod given;
mod keys;

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use given::Given;
pub use keys::{KEYS, NodeConfig, NodeFlags};

use crate::exit::{Exit, ended};

/// Prefix of every environment variable the program reads.
pub const ENV_PREFIX: &str = "BESSEMER_";
/// Variables with the prefix that are no keys: options of the client commands.
const OTHER_VARIABLES: &[&str] = &["URL", "TOKEN", "PROJECT", "DIR"];
/// Shown in place of a secret.
const REDACTED: &str = "<redacted>";
/// Keys whose value is never shown.
const SECRET_KEYS: &[&str] = &["admin_token"];

/// A node the cluster begins with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    pub id: u64,
    /// `host:port` of its peer door, as the others reach it.
    pub peer: String,
    /// `host:port` of its HTTP door, as clients reach it.
    pub http: String,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// A configuration that passed its checks.
#[derive(Debug)]
pub struct Loaded {
    pub config: NodeConfig,
    /// What the operator should know but what stops nothing.
    pub warnings: Vec<String>,
}

/// Reads all layers. `variables` are the process's environment.
///
/// Refuses, with `Exit::Usage`: a file that cannot be read, an unknown key in the file, a value
/// of the wrong type, and whatever `check` finds; the message names the layer and the key.
pub fn load(
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    flags: &NodeFlags,
) -> anyhow::Result<Loaded> {
    let mut table = toml::Table::try_from(NodeConfig::default())
        .context("the default configuration is not TOML")?;
    if let Some(path) = file {
        table.extend(read_file(path)?);
    }
    let mut warnings = Vec::new();
    table.extend(read_variables(variables, &mut warnings)?);
    table.extend(flags.given());
    let mut config: NodeConfig =
        table.try_into().map_err(|e: toml::de::Error| ended(Exit::Usage, e.to_string()))?;
    read_secrets(&mut config)?;
    check::check(&config).map_err(|problem| ended(Exit::Usage, problem))?;
    Ok(Loaded { config, warnings })
}

fn read_file(path: &Path) -> anyhow::Result<toml::Table> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| ended(Exit::Usage, format!("cannot read the configuration {shown}: {e}")))?;
    let table = text
        .parse::<toml::Table>()
        .map_err(|e| ended(Exit::Usage, format!("{shown} is not TOML: {e}")))?;
    for (key, value) in &table {
        keys::fits(key, value).map_err(|e| ended(Exit::Usage, format!("in {shown}: {e}")))?;
    }
    Ok(table)
}

fn read_variables(
    variables: impl Iterator<Item = (String, String)>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<toml::Table> {
    let mut table = toml::Table::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
        let key = rest.to_ascii_lowercase();
        match keys::parse(&key, &text) {
            Some(Ok(value)) => {
                table.insert(key, value);
            }
            Some(Err(e)) => {
                return Err(ended(Exit::Usage, format!("the variable {name} is wrong: {e}")));
            }
            None if OTHER_VARIABLES.contains(&rest) => {}
            None => warnings.push(format!("the variable {name} names no key; it is ignored")),
        }
    }
    Ok(table)
}

/// Takes the secrets that are named by file.
fn read_secrets(config: &mut NodeConfig) -> anyhow::Result<()> {
    if config.admin_token_file.as_os_str().is_empty() {
        return Ok(());
    }
    if !config.admin_token.is_empty() {
        return Err(ended(Exit::Usage, "give admin_token or admin_token_file, not both"));
    }
    let shown = config.admin_token_file.display();
    let text = std::fs::read_to_string(&config.admin_token_file)
        .map_err(|e| ended(Exit::Usage, format!("cannot read admin_token_file {shown}: {e}")))?;
    config.admin_token = text.trim().to_owned();
    Ok(())
}

/// The configuration as a table. Secrets are replaced when `redacted`.
pub fn shown(config: &NodeConfig, redacted: bool) -> anyhow::Result<toml::Table> {
    let mut table = toml::Table::try_from(config).context("the configuration is not TOML")?;
    if redacted {
        for key in SECRET_KEYS {
            if table.get(*key).and_then(|v| v.as_str()).is_some_and(|text| !text.is_empty()) {
                table.insert((*key).to_owned(), REDACTED.into());
            }
        }
    }
    Ok(table)
}

/// The configuration as TOML, each key below its description. Secrets are replaced when
/// `redacted`.
pub fn print(config: &NodeConfig, redacted: bool) -> anyhow::Result<String> {
    let table = shown(config, redacted)?;
    let mut text = String::new();
    for (key, lines) in KEYS {
        for line in *lines {
            text.push_str(&format!("#{line}\n"));
        }
        let value = table.get(*key).with_context(|| format!("the key {key} has no value"))?;
        text.push_str(&format!("{key} = {value}\n\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
