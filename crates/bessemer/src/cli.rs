//! The command line, whole: every command and where it goes.
//!
//! Not here: what a command does (`commands`). Help, completions and manual come from this tree.

use clap::{Parser, Subcommand};

use crate::client::access::Access;
use crate::commands::{
    bench::BenchCommand, cluster::ClusterCommand, config::ConfigCommand, dev::DevArgs,
    node::NodeArgs, project::ProjectCommand, queue::QueueCommand, reference::ReferenceCommand,
    token::TokenCommand,
};

/// A replicated queue that old IronMQ clients can use.
#[derive(Debug, Parser)]
#[command(name = "bessemer", version, propagate_version = true, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs one node of a cluster.
    Node(Box<NodeArgs>),
    /// Runs a whole cluster on this machine, for development and tests.
    Dev(DevArgs),
    /// Posts, reserves, acknowledges messages; manages queues.
    Queue(With<QueueCommand>),
    /// Shows and changes the members of a cluster. Needs the operator's token.
    Cluster(With<ClusterCommand>),
    /// Makes and shows projects. Needs the operator's token.
    Project(With<ProjectCommand>),
    /// Makes, shows and revokes a project's tokens.
    Token(With<TokenCommand>),
    /// Measures a cluster.
    Bench(With<BenchCommand>),
    /// Checks and shows the configuration of a node.
    Config(ConfigArgs),
    /// Writes shell completions and manual pages.
    #[command(hide = true)]
    Reference(ReferenceArgs),
}

/// A client command and the options all of them share.
#[derive(Debug, clap::Args)]
pub struct With<C: Subcommand> {
    #[command(subcommand)]
    pub command: C,
    #[command(flatten)]
    pub access: Access,
}

#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, clap::Args)]
pub struct ReferenceArgs {
    #[command(subcommand)]
    pub command: ReferenceCommand,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_invocations_are_understood() {
        for line in [
            "bessemer node --config /etc/bessemer.toml --heartbeat-ms 200",
            "bessemer dev --nodes 3 --dir /tmp/x --http-port 8080 --json --no-restart",
            "bessemer dev --no-restart=false",
            "bessemer queue post q hello --json --url http://a:1 --url http://b:2",
            "bessemer queue post q --file - --delay-ms 5 --ordering-key k",
            "bessemer queue reserve q -n 10 --timeout-secs 60 --wait-secs 5 --delete",
            "bessemer queue ack q 1000000000000000000 --reservation-id 00",
            "bessemer queue touch q 1 --reservation-id 00",
            "bessemer queue release q 1 --reservation-id 00 --delay-secs 3",
            "bessemer queue peek q",
            "bessemer queue info q",
            "bessemer queue list --prefix a",
            "bessemer queue create q --message-timeout-secs 30 --dead-letter-queue d",
            "bessemer queue clear q",
            "bessemer queue delete q",
            "bessemer cluster status --json",
            "bessemer cluster join 4 --peer h:1 --http h:2",
            "bessemer cluster leave 4",
            "bessemer cluster replace 3 --by 4 --peer h:1 --http h:2",
            "bessemer cluster transfer 2",
            "bessemer project create name",
            "bessemer project list",
            "bessemer token create --role reader --name r",
            "bessemer token revoke 0123456789abcdef",
            "bessemer token list",
            "bessemer bench queue --clients 64 --batch 1 --size 1024 --queues 1 --secs 10 --json",
            "bessemer config check --config x.toml",
            "bessemer config print --config x.toml --redacted",
        ] {
            if let Err(e) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {e}");
            }
        }
    }
}
