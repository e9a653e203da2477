//! `bessemer dev`: a cluster on this machine, one process per node, for development and tests.
//!
//! Not here: what a node does (`commands/node.rs`); the nodes are this same program.

mod child;
mod layout;
mod ready;
mod supervisor;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use self::layout::DevDir;
use self::supervisor::{Credentials, Supervisor};
use crate::client::cluster_file::{self, ClusterFile};
use crate::config::LogFormat;
use crate::telemetry;

/// Runs a cluster on this machine until it is told to stop.
///
/// SIGTERM or Ctrl-C stops all nodes in order; SIGHUP starts those that are down. The same
/// directory again finds everything.
#[derive(Clone, Debug, clap::Args)]
pub struct DevArgs {
    /// How many nodes; 3 in a new directory.
    #[arg(long)]
    nodes: Option<u64>,
    /// Directory for everything the cluster holds; `~/.local/share/bessemer/dev` by default.
    #[arg(long, env = "BESSEMER_DIR", value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Node i serves clients on this port plus i - 1; 8080 in a new directory.
    #[arg(long, value_name = "BASE")]
    http_port: Option<u16>,
    /// Writes one line of JSON to standard output once the cluster is ready.
    #[arg(long)]
    json: bool,
    /// Leaves a dead node dead, instead of starting it again after a second.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", hide_default_value = true, hide_possible_values = true)]
    no_restart: bool,
}

pub fn run(args: &DevArgs) -> anyhow::Result<()> {
    telemetry::start(LogFormat::Text, "info", std::path::Path::new(""))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_async(args))
}

async fn run_async(args: &DevArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    let root = args.dir.clone().unwrap_or_else(cluster_file::default_dir);
    let dir = DevDir::open(&root, args.nodes, args.http_port)?;
    dir.write_configs()?;
    if std::io::stderr().is_terminal() {
        let (nodes, root) = (dir.plan.nodes.len(), dir.root().display());
        eprintln!("starting {nodes} nodes in {root}, usually ready within 5 s ...");
    }
    let plan = dir.plan.clone();
    let admin_token = dir.admin_token.clone();
    let known = cluster_file::read(dir.root())?
        .map(|file| Credentials { project_id: file.project_id, token: file.token });
    let mut supervisor = Supervisor::start(dir, known.clone(), !args.no_restart)?;
    let making = ready::make_ready(&plan, &admin_token, known);
    let result =
        watch(&mut supervisor, making, |file, supervisor| announce(args, file, supervisor, begun));
    let result = result.await;
    supervisor.stop().await;
    result
}

/// Runs the supervisor's loop, and `making` beside it until it is done.
async fn watch(
    supervisor: &mut Supervisor,
    making: impl Future<Output = anyhow::Result<Credentials>>,
    mut announce: impl FnMut(&ClusterFile, &Supervisor) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut making = std::pin::pin!(making);
    let mut made = false;
    loop {
        let event = tokio::select! {
            credentials = &mut making, if !made => {
                made = true;
                let file = supervisor.now_ready(credentials?)?;
                announce(&file, supervisor)?;
                continue;
            }
            event = supervisor.select() => event,
        };
        if supervisor.apply(event)?.is_break() {
            return Ok(());
        }
    }
}

/// Says once that the cluster is ready: a line for programs, or a page for a person.
fn announce(
    args: &DevArgs,
    file: &ClusterFile,
    supervisor: &Supervisor,
    begun: Instant,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let text =
        if args.json { serde_json::to_string(file)? + "\n" } else { page(file, supervisor, begun) };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the output")
}

fn page(file: &ClusterFile, supervisor: &Supervisor, begun: Instant) -> String {
    let root = supervisor.dir().root().display();
    let mut text = format!("ready after {:.1} s, in {root}\n\n", begun.elapsed().as_secs_f64());
    for node in &file.nodes {
        text += &format!("  node {}   {}   {}\n", node.id, node.http, node.metrics);
    }
    text += &format!("\n  project      {}\n", file.project_id);
    text += &format!("  token        {}\n", file.token);
    text += &format!("  admin token  {}\n\n", file.admin_token);
    let base = file.nodes.first().map_or("", |node| node.http.as_str());
    text += &format!(
        "  curl -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \\\n    \
         -d '{{\"messages\":[{{\"body\":\"hello\"}}]}}' \\\n    \
         {base}/3/projects/{}/queues/first/messages\n\n",
        file.token, file.project_id
    );
    if std::io::stdin().is_terminal() {
        text += "Ctrl-C stops it; the same command finds everything again.\n";
    }
    text
}
