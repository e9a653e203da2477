//! Every key of a node's configuration, once: name, type, default, description.
//!
//! Not here: relations between keys (`check.rs`). From each key come the TOML key, the variable
//! `BESSEMER_<KEY>` and the flag `--<key>`, with the same text as help.
//! Invariant: a unit is the last part of a name, before any `_min` or `_max`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::given::one_line;
use super::{Given, LogFormat, MemberConfig};

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr,)+) => {
        /// The whole configuration of a node.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct NodeConfig {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        impl Default for NodeConfig {
            fn default() -> Self {
                NodeConfig { $($name: $default,)+ }
            }
        }

        /// The same keys as flags; one that is not given leaves the layers below as they are.
        #[derive(Clone, Debug, Default, clap::Args)]
        #[command(next_help_heading = "Configuration (the same keys as in the file)")]
        pub struct NodeFlags {
            $(
                $(#[doc = $doc])+
                #[arg(long, value_name = "VALUE")]
                pub $name: Option<Given<$kind>>,
            )+
        }

        impl NodeFlags {
            /// The flags that were given, as a layer.
            pub fn given(&self) -> toml::Table {
                let mut table = toml::Table::new();
                $(
                    if let Some(given) = &self.$name {
                        table.insert(stringify!($name).to_owned(), given.value.clone());
                    }
                )+
                table
            }
        }

        /// Name and description of every key, in the order of `config print`.
        pub const KEYS: &[(&str, &[&str])] = &[$((stringify!($name), &[$($doc),+]),)+];

        /// Reads `text` as a value of `key`; `None` when there is no such key.
        pub fn parse(key: &str, text: &str) -> Option<Result<toml::Value, String>> {
            match key {
                $(stringify!($name) => {
                    Some(text.parse::<Given<$kind>>().map(|given| given.value))
                })+
                _ => None,
            }
        }

        /// Checks that `value` is one of `key`; the message names the key.
        pub fn fits(key: &str, value: &toml::Value) -> Result<(), String> {
            match key {
                $(stringify!($name) => <$kind>::deserialize(value.clone())
                    .map(drop)
                    .map_err(|e| format!("{key}: {}", one_line(&e))),)+
                _ => Err(format!("there is no key {key}; `bessemer config print` shows all")),
            }
        }
    };
}

keys! {
    /// Number of this node, from 1. Never given to another node of the cluster again.
    node_id: u64 = 0,
    /// Name of the cluster: nodes of different clusters refuse each other. 1 to 64 bytes.
    cluster_id: String = "bessemer".to_owned(),
    /// Directory that holds everything this node knows. One node, one directory.
    data_dir: PathBuf = PathBuf::new(),
    /// Address of the door for clients.
    http_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
    /// Address of the door for operators: /livez, /readyz, /metrics. No authorization: keep it
    /// away from the public.
    ops_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9080)),
    /// Address of the door for the other nodes. Loopback only, unless insecure_peers is true.
    peer_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7080)),
    /// `host:port` under which clients reach http_listen; empty takes http_listen.
    http_advertise: String = String::new(),
    /// `host:port` under which the other nodes reach peer_listen; empty takes peer_listen.
    peer_advertise: String = String::new(),
    /// Lets the peer door listen beyond loopback, in clear text and without authentication: only
    /// on a network where every machine is trusted.
    insecure_peers: bool = false,
    /// The nodes the cluster begins with, as `[{ id = 1, peer = "host:port", http = "host:port" }]`,
    /// the same on each of them; read at the first start only. Empty for a node that joins later.
    members: Vec<MemberConfig> = Vec::new(),
    /// The operator's token, at least 16 bytes, the same on every node. Empty closes what needs it.
    admin_token: String = String::new(),
    /// File to read admin_token from.
    admin_token_file: PathBuf = PathBuf::new(),
    /// Largest body of a client's request.
    request_bytes_max: usize = bessemer_model::limits::REQUEST_BYTES_DEFAULT,
    /// Bytes of all clients' bodies held at once, from their arrival to the answer; over it, 503.
    bodies_bytes_max: usize = 128 << 20,
    /// Client connections held at once; one more is told so (503) and closed.
    connections_max: usize = 20_000,
    /// How long a request may wait for its outcome before the answer is "unknown".
    request_wait_ms_max: u64 = 10_000,
    /// How long a draining node may take to end.
    drain_ms_max: u64 = 9_000,
    /// A follower that heard nothing from a leader for a random time from here ...
    election_ms_min: u64 = bessemer_replica::ELECTION_TIMEOUT_MS.0,
    /// ... up to here stands for election.
    election_ms_max: u64 = bessemer_replica::ELECTION_TIMEOUT_MS.1,
    /// How often a leader says that it is there.
    heartbeat_ms: u64 = bessemer_replica::HEARTBEAT_INTERVAL_MS,
    /// Size of one file of the log; it is allocated before it is needed.
    log_segment_bytes: u64 = 64 << 20,
    /// Newest part of the log that is kept in memory for peers and replay.
    log_cache_bytes: usize = 64 << 20,
    /// A log longer than this is cut: a follower further behind gets a snapshot instead.
    log_bytes_max: u64 = 256 << 20,
    /// With fewer free bytes on the disk, posts are refused while deletes go on.
    disk_low_water_bytes: u64 = 1 << 30,
    /// Memory for changes of the state before they are flushed to files; also bounds replay.
    memtable_bytes: usize = 128 << 20,
    /// Memory for blocks of the state read from disk.
    block_cache_bytes: usize = 256 << 20,
    /// How log lines are written: text or json.
    log_format: LogFormat = LogFormat::Text,
    /// What is logged: error, warn, info, debug or trace, also per part of the program, as in
    /// `info,bessemer_replica=debug`.
    log_level: String = "info,openraft=error".to_owned(),
    /// File for log lines, appended to; empty writes to standard error.
    log_file: PathBuf = PathBuf::new(),
}
