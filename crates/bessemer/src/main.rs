//! The program: reads the command line, runs one command, ends with its exit code.

mod cli;
mod client;
mod commands;
mod config;
mod exit;
mod telemetry;
mod world;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, code_of};

const _: () = assert!(
    !bessemer_seam::mutants::COMPILED,
    "bugs are planted in this build: the feature `mutants` is for the simulation alone"
);

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            // Where standard error cannot be written, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            code_of(&error).into()
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Node(args) => commands::node::run(args),
        Command::Dev(args) => commands::dev::run(args),
        Command::Queue(with) => client(commands::queue::run(&with.command, &with.access)),
        Command::Cluster(with) => client(commands::cluster::run(&with.command, &with.access)),
        Command::Project(with) => client(commands::project::run(&with.command, &with.access)),
        Command::Token(with) => client(commands::token::run(&with.command, &with.access)),
        Command::Bench(with) => client(commands::bench::run(&with.command, &with.access)),
        Command::Config(args) => commands::config::run(&args.command),
        Command::Reference(args) => commands::reference::run(&args.command),
    }
}

/// Runs a client command on a runtime of one thread.
fn client(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}
