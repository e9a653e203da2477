//! `bessemer reference`: completions and manual pages, made from the command line itself.

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

#[derive(Debug, clap::Subcommand)]
pub enum ReferenceCommand {
    /// Writes the completions of a shell to standard output.
    Completions { shell: Shell },
    /// Writes one manual page per command into a directory.
    Man { dir: PathBuf },
}

pub fn run(command: &ReferenceCommand) -> anyhow::Result<()> {
    let mut cli = Cli::command();
    match command {
        ReferenceCommand::Completions { shell } => {
            clap_complete::generate(*shell, &mut cli, "bessemer", &mut std::io::stdout());
            Ok(())
        }
        ReferenceCommand::Man { dir } => std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(cli, dir))
            .with_context(|| format!("cannot write manual pages into {}", dir.display())),
    }
}
