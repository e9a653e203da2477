//! `bessemer cluster`: the members, and changes of them.
//!
//! Not here: how a change is made safe (crate `replica`). A change is asked of the leader.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::output::{field, rows, show, table};
use crate::client::access::Access;
use crate::client::session::Session;
use crate::exit::{Exit, code_of, ended};

const STATUS: &str = "/v1/cluster";
/// An election takes about a second.
const LEADER_WAIT: Duration = Duration::from_secs(5);
const LEADER_PAUSE: Duration = Duration::from_millis(100);
/// How long a node works on a change before it answers that the outcome is open.
const MEMBERSHIP_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// Shows the leader, the members, and how far each is.
    Status,
    /// Adds a node: it is fed until it has caught up, then it votes. Start it first.
    Join {
        /// Its number, which no node of the cluster ever had.
        node: u64,
        #[command(flatten)]
        addresses: Addresses,
    },
    /// Takes a node out.
    Leave { node: u64 },
    /// Adds a node and takes another out, in one change: for a machine that lost its disk.
    Replace {
        /// The node that leaves.
        node: u64,
        /// The number of the node that comes, which no node of the cluster ever had.
        #[arg(long, value_name = "NODE")]
        by: u64,
        #[command(flatten)]
        addresses: Addresses,
    },
    /// Hands leadership to a node.
    Transfer { node: u64 },
}

#[derive(Debug, clap::Args)]
pub struct Addresses {
    /// `host:port` of its door for the other nodes.
    #[arg(long)]
    peer: String,
    /// `host:port` of its door for clients.
    #[arg(long)]
    http: String,
}

pub async fn run(command: &ClusterCommand, access: &Access) -> anyhow::Result<()> {
    let target = access.target()?;
    let token = target.admin_token()?;
    let Some((verb, body)) = change(command) else {
        let mut session = Session::new(&target.addresses, token);
        let status = session.ask(Method::GET, STATUS, None).await?;
        show(access.json, &status, status_text);
        return Ok(());
    };
    let end = Instant::now() + LEADER_WAIT;
    let answer = loop {
        let mut leader = find_leader(&target.addresses, token, end).await?;
        leader.wait_longer(MEMBERSHIP_WAIT);
        match leader.ask(Method::POST, &format!("{STATUS}/{verb}"), Some(&body)).await {
            // It led no more when it was asked: surely nothing was done.
            Err(e) if code_of(&e) == Exit::NotDone && Instant::now() < end => {}
            answer => break answer?,
        }
        tokio::time::sleep(LEADER_PAUSE).await;
    };
    show(access.json, &answer, |_| "done".to_owned());
    Ok(())
}

/// A session with the node that takes itself for the leader: only it changes the membership.
/// Looks at the given nodes and at those they name; waits while an election runs, until `end`.
async fn find_leader(addresses: &[String], token: &str, end: Instant) -> anyhow::Result<Session> {
    let mut known = addresses.to_vec();
    loop {
        let mut last = ended(Exit::NotDone, "the cluster has no leader now; try again");
        let mut next = 0;
        while let Some(address) = known.get(next).cloned() {
            next += 1;
            let mut session = Session::new(&[address], token);
            match session.ask(Method::GET, STATUS, None).await {
                Ok(status) if status.get("leader") == status.get("me") => return Ok(session),
                Ok(status) => {
                    let named = rows(&status, "members").iter().map(|m| field(m, "http_address"));
                    let new: Vec<String> = named.filter(|n| !known.contains(n)).collect();
                    known.extend(new);
                }
                Err(e) if code_of(&e) == Exit::Unauthorized => return Err(e),
                Err(e) => last = e,
            }
        }
        if Instant::now() >= end {
            return Err(last);
        }
        tokio::time::sleep(LEADER_PAUSE).await;
    }
}

/// Verb and body of a change; `None` for `status`.
fn change(command: &ClusterCommand) -> Option<(&'static str, Value)> {
    Some(match command {
        ClusterCommand::Status => return None,
        ClusterCommand::Join { node, addresses } => (
            "join",
            json!({ "node": node, "peer_address": addresses.peer, "http_address": addresses.http }),
        ),
        ClusterCommand::Leave { node } => ("leave", json!({ "node": node })),
        ClusterCommand::Replace { node, by, addresses } => (
            "replace",
            json!({
                "old": node,
                "new": by,
                "peer_address": addresses.peer,
                "http_address": addresses.http,
            }),
        ),
        ClusterCommand::Transfer { node } => ("transfer", json!({ "node": node })),
    })
}

fn status_text(status: &Value) -> String {
    let line = |name: &str| format!("{name:12} {}\n", field(status, name));
    let mut text: String =
        ["me", "leader", "term", "committed", "applied", "chain", "log_time_ms", "disk_low"]
            .iter()
            .map(|name| line(name))
            .collect();
    text += "\n";
    let columns = ["node", "voter", "matched", "peer_address", "http_address"];
    text += &table(&columns, rows(status, "members"));
    text
}
