//! `bessemer config`: what a node would run with, before it runs.

use std::path::PathBuf;

use serde_json::json;

use super::output::{self, show};
use crate::config::{self, NodeFlags};

#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Reads file, environment and flags, and says whether a node could start with them.
    Check(Box<LayersArgs>),
    /// Writes the whole configuration, as the layers give it, with a description of each key.
    Print {
        #[command(flatten)]
        layers: Box<LayersArgs>,
        /// Replaces secrets by a mark.
        #[arg(long)]
        redacted: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct LayersArgs {
    /// The configuration file, in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Writes one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: NodeFlags,
}

pub fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    let layers = match command {
        ConfigCommand::Check(layers) => layers,
        ConfigCommand::Print { layers, .. } => layers,
    };
    let loaded = config::load(layers.config.as_deref(), std::env::vars(), &layers.flags)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match command {
        ConfigCommand::Check(_) => {
            let answer = json!({ "sound": true, "warnings": loaded.warnings });
            show(layers.json, &answer, |_| "the configuration is sound".to_owned());
        }
        ConfigCommand::Print { redacted, .. } if layers.json => {
            output::print(serde_json::to_string(&config::shown(&loaded.config, *redacted)?)?);
        }
        ConfigCommand::Print { redacted, .. } => {
            output::print(config::print(&loaded.config, *redacted)?.trim_end());
        }
    }
    Ok(())
}
