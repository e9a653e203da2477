//! `bessemer bench queue`: how many post + reserve + delete cycles a cluster does.
//!
//! Not here: a pass mark. A closed loop: each client sends its next request when the last one was
//! answered, so the figures hold for this number of clients and no other.

mod client;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::Method;

use self::client::{Client, Work};
use self::report::{Figures, Report};
use super::output;
use crate::client::access::{Access, Target};
use crate::client::session::{Session, segment};
use crate::exit::{Exit, ended};
use crate::world::tokio_runtime::random_hex;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// Measures cycles of post, reserve and delete on pull queues, over all nodes.
    Queue(QueueArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct QueueArgs {
    /// Clients at once; each has one connection, to the nodes in turn.
    #[arg(long, default_value_t = 64)]
    pub clients: usize,
    /// Messages per request, 1 to 100.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Bytes of a message's body.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Queues the clients share.
    #[arg(long, default_value_t = 1)]
    pub queues: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    pub secs: u64,
    /// Seconds before, that are not.
    #[arg(long, default_value_t = 2)]
    pub warmup_secs: u64,
    /// Longest wait for one answer, in milliseconds.
    #[arg(long, default_value_t = 15_000)]
    pub patience_ms: u64,
    /// Leaves the queues as they are at the end.
    #[arg(long)]
    pub keep: bool,
}

pub async fn run(command: &BenchCommand, access: &Access) -> anyhow::Result<()> {
    let BenchCommand::Queue(args) = command;
    check(args)?;
    let target = access.target()?;
    let queues: Vec<String> = {
        let run = random_hex::<4>();
        (0..args.queues).map(|i| format!("bench-{run}-{i}")).collect()
    };
    create(&target, &queues).await?;
    let report = measure(args, &target, &queues).await?;
    if !args.keep {
        delete(&target, &queues).await?;
    }
    output::print(if access.json { report.json()? } else { report.text() });
    if report.cycles == 0 {
        return Err(ended(Exit::Failure, "not one cycle was completed"));
    }
    Ok(())
}

fn check(args: &QueueArgs) -> anyhow::Result<()> {
    for (name, value, max) in [
        ("--clients", args.clients, 10_000),
        ("--batch", args.batch, 100),
        ("--queues", args.queues, 10_000),
    ] {
        if !(1..=max).contains(&value) {
            return Err(ended(Exit::Usage, format!("{name} is {value}; it must be 1 to {max}")));
        }
    }
    if args.secs == 0 {
        return Err(ended(Exit::Usage, "--secs must be at least 1"));
    }
    Ok(())
}

async fn create(target: &Target, queues: &[String]) -> anyhow::Result<()> {
    let mut session = Session::new(&target.addresses, target.token()?);
    for queue in queues {
        let path = queue_path(target, queue)?;
        let empty = serde_json::json!({ "queue": {} });
        session.ask(Method::PUT, &path, Some(&empty)).await.context("cannot make a queue")?;
    }
    Ok(())
}

async fn delete(target: &Target, queues: &[String]) -> anyhow::Result<()> {
    let mut session = Session::new(&target.addresses, target.token()?);
    for queue in queues {
        let path = queue_path(target, queue)?;
        session.ask(Method::DELETE, &path, None).await.context("cannot delete a queue")?;
    }
    Ok(())
}

fn queue_path(target: &Target, queue: &str) -> anyhow::Result<String> {
    Ok(format!("/3/projects/{}/queues/{}", segment(target.project()?), segment(queue)))
}

async fn measure(args: &QueueArgs, target: &Target, queues: &[String]) -> anyhow::Result<Report> {
    let measuring = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let end = begun + Duration::from_secs(args.warmup_secs + args.secs);
    let mut clients = tokio::task::JoinSet::new();
    for i in 0..args.clients {
        let work = Work {
            queue_path: queue_path(target, &queues[i % queues.len()])?,
            token: target.token()?.to_owned(),
            batch: args.batch,
            body_bytes: args.size,
            patience: Duration::from_millis(args.patience_ms),
        };
        let client = Client::new(&target.addresses, i, &work);
        let measuring = Arc::clone(&measuring);
        clients.spawn(client.run(measuring, end));
    }
    tokio::time::sleep(Duration::from_secs(args.warmup_secs)).await;
    measuring.store(true, Ordering::Relaxed);
    let from = Instant::now();
    let mut figures = Figures::new();
    // Every client ends by itself at `end`, at the latest after one patience more.
    while let Some(result) = clients.join_next().await {
        figures.add(&result.context("a client of the bench broke down")?);
    }
    Ok(Report::new(args, target.addresses.len(), from.elapsed(), &figures))
}
