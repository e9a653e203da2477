//! `bessemer node`: one node of a cluster, until a signal or a failure ends it.
//!
//! Not here: start and stop order inside the node (crate `node`), opening its files (`open.rs`).
//! Invariants: SIGTERM ends the process within `drain_ms_max` and a second; a failure that
//! leaves the state in doubt ends it at once, by abort, whatever else runs.

mod metrics;
mod open;
mod stop;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bessemer_gateway::{DoorMetrics, HttpOptions, OpsHandles, serve_http, serve_ops};
use bessemer_node::{Node, NodeOptions};
use bessemer_replica::ReplicaOptions;
use bessemer_seam::consensus::Member;
use bessemer_service::Options as ServiceOptions;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::open::Opened;
use crate::config::{self, NodeConfig, NodeFlags};
use crate::exit::{Exit, ended};
use crate::telemetry;
use crate::world::log_driver::LogDriver;
use crate::world::real::RealWorld;
use crate::world::tcp_net::TcpNet;
use crate::world::tokio_runtime::TokioRuntime;

/// Runs one node of a cluster.
///
/// SIGTERM or Ctrl-C drains it: it takes no more work, hands leadership over, flushes, and ends
/// within ten seconds.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// The configuration file, in TOML; the environment and flags overrule it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ends at once when standard input is closed: for a supervisor that may die.
    #[arg(long, hide = true)]
    end_with_input: bool,
    #[command(flatten)]
    flags: NodeFlags,
}

pub fn run(args: &NodeArgs) -> anyhow::Result<()> {
    let loaded = config::load(args.config.as_deref(), std::env::vars(), &args.flags)?;
    let config = loaded.config;
    telemetry::start(config.log_format, &config.log_level, &config.log_file)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if args.end_with_input {
        end_with_input()?;
    }
    abort_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    // What still runs has been stopped or is past its time; nothing more may hold the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn serve(config: NodeConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signaled = async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let mut signaled = std::pin::pin!(signaled);
    let starting = Running::start(&config);
    let running = tokio::select! {
        running = starting => running?,
        name = &mut signaled => {
            // Replay can be interrupted at any point: nothing is acknowledged yet.
            tracing::info!(signal = name, "stopped while starting");
            return Ok(());
        }
    };
    let cause = tokio::select! {
        name = &mut signaled => Ok(name),
        failure = running.failed() => Err(failure),
    };
    match cause {
        Ok(name) => {
            tracing::info!(signal = name, "draining");
            stop::drain(running, Duration::from_millis(config.drain_ms_max)).await;
            tracing::info!("stopped");
            Ok(())
        }
        Err(failure) => fatal(&failure),
    }
}

/// Everything that runs in a node's process.
struct Running {
    node: Node<RealWorld>,
    runtime: Arc<TokioRuntime>,
    driver: LogDriver,
    /// Set once, by the log's threads.
    log_failed: watch::Receiver<Option<String>>,
    /// Set true to close the doors for clients, then the one for operators.
    http_stop: watch::Sender<bool>,
    ops_stop: watch::Sender<bool>,
    http: tokio::task::JoinHandle<()>,
    ops: tokio::task::JoinHandle<()>,
    /// The directory is this process's until here.
    _boot: bessemer_storage::Boot,
}

impl Running {
    async fn start(config: &NodeConfig) -> anyhow::Result<Running> {
        let net = TcpNet::bind(config.peer_listen).await.map_err(|e| in_use(e, "peer_listen"))?;
        let ops_listener = listen(config.ops_listen, "ops_listen").await?;
        let Opened { boot, log, state } = open::open(config).await?;
        tracing::info!(
            node = config.node_id,
            cluster = config.cluster_id,
            boot = boot.count.0,
            peers = %net.local_address(),
            "starting"
        );
        let (log_failure, log_failed) = watch::channel(None);
        let driver = LogDriver::start(&log, move |error| {
            log_failure.send_replace(Some(error.to_string()));
        })
        .context("cannot start the log's threads")?;
        let runtime = TokioRuntime::new();
        let world = RealWorld::new(runtime.clone(), net);
        let options = options(config, &boot);
        let node = Node::start(world, options, log.clone(), state)
            .await
            .map_err(|e| ended(Exit::Fatal, format!("cannot start: {e}")))?;
        let http_listener = listen(config.http_listen, "http_listen").await?;
        let mut registry = Registry::default();
        let doors = DoorMetrics::register(&mut registry);
        metrics::register(&mut registry, log, node.replica().clone());
        let (http_stop, http_stopped) = watch::channel(false);
        let (ops_stop, ops_stopped) = watch::channel(false);
        let http = tokio::spawn(serve_http(
            http_listener,
            node.service().clone(),
            doors.clone(),
            http_options(config),
            until_true(http_stopped),
        ));
        let handles = OpsHandles {
            service: node.service().clone(),
            metrics: doors,
            registry: Arc::new(registry),
        };
        let ops = tokio::spawn(serve_ops(ops_listener, handles, until_true(ops_stopped)));
        tracing::info!(http = %config.http_listen, ops = %config.ops_listen, "serving");
        Ok(Running {
            node,
            runtime,
            driver,
            log_failed,
            http_stop,
            ops_stop,
            http,
            ops,
            _boot: boot,
        })
    }

    /// Completes with the cause when the node cannot go on.
    async fn failed(&self) -> String {
        let mut log_failed = self.log_failed.clone();
        let log_failed = async move {
            match log_failed.wait_for(Option::is_some).await {
                Ok(error) => error.clone().unwrap_or_default(),
                // The threads ended without an error: they were stopped.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            error = log_failed => error,
            error = self.node.failed() => error,
        }
    }
}

fn options(config: &NodeConfig, boot: &bessemer_storage::Boot) -> NodeOptions {
    let node = bessemer_model::NodeId(config.node_id);
    let mut replica = ReplicaOptions::new(node, config.cluster_id.clone(), boot.count, boot.data);
    replica.election_timeout_ms_min = config.election_ms_min;
    replica.election_timeout_ms_max = config.election_ms_max;
    replica.heartbeat_interval_ms = config.heartbeat_ms;
    replica.log_bytes_max = config.log_bytes_max;
    replica.shutdown_ms_max = stop::REPLICA_STOP_MS;
    let admin_token = (!config.admin_token.is_empty()).then(|| config.admin_token.clone());
    let service = ServiceOptions {
        admin_token,
        patience: Duration::from_millis(config.request_wait_ms_max),
        ..ServiceOptions::default()
    };
    let members: Vec<Member> = config
        .members
        .iter()
        .map(|member| Member {
            node: bessemer_model::NodeId(member.id),
            peer_address: member.peer.clone(),
            http_address: member.http.clone(),
            voter: true,
            matched: None,
        })
        .collect();
    NodeOptions { replica, service, members: (!members.is_empty()).then_some(members) }
}

fn http_options(config: &NodeConfig) -> HttpOptions {
    HttpOptions {
        request_bytes_max: config.request_bytes_max,
        bodies_bytes_max: config.bodies_bytes_max,
        connections_max: config.connections_max,
        drain_timeout: stop::HTTP_DRAIN,
        ..HttpOptions::default()
    }
}

async fn listen(address: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| in_use(e, &format!("{key} {address}")))
}

fn in_use(error: std::io::Error, what: &str) -> anyhow::Error {
    ended(Exit::Usage, format!("cannot listen on {what}: {error}"))
}

async fn until_true(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: the same as stopped.
    let _stopped = stop.wait_for(|stop| *stop).await;
}

/// The process must end: its log or state is in doubt. Nothing is flushed, nothing answered;
/// the supervisor starts it again and what was durable is replayed.
fn fatal(cause: &str) -> ! {
    tracing::error!(cause, "this node cannot go on; it ends at once");
    std::process::abort();
}

/// A panic is a broken invariant: the same as a failure.
fn abort_on_panic() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        show(info);
        fatal(&info.to_string());
    }));
}

/// Ends the process once standard input is closed, as a crash would: what is durable stays.
fn end_with_input() -> anyhow::Result<()> {
    let wait = || {
        let mut input = std::io::stdin().lock();
        let mut byte = [0u8];
        while input.read(&mut byte).is_ok_and(|count| count > 0) {}
        tracing::error!("the supervisor is gone; this node ends");
        std::process::abort();
    };
    std::thread::Builder::new().name("end-with-input".to_owned()).spawn(wait)?;
    Ok(())
}
