//! Relations between keys, and bounds that a type cannot say.
//!
//! Not here: types (`keys.rs`). Each message names the key and what to write instead.

use std::collections::BTreeSet;

use super::NodeConfig;

/// Shorter tokens can be guessed.
const ADMIN_TOKEN_BYTES_MIN: usize = 16;
const CLUSTER_ID_BYTES_MAX: usize = 64;
/// A segment must hold the largest entry with room to spare.
const LOG_SEGMENT_BYTES_MIN: u64 = 16 << 20;
/// Smaller ones are flushed all the time.
const MEMTABLE_BYTES_MIN: usize = 4 << 20;
/// Draining longer than this breaks the promise of SIGTERM: ten seconds.
const DRAIN_MS_MAX: u64 = 10_000;
/// With what the log adds, a request of this size stays below `COMMAND_BYTES_MAX`; where it does
/// not (very many tiny messages), it is refused whole.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// The first thing wrong with `config`.
pub fn check(config: &NodeConfig) -> Result<(), String> {
    identity(config)?;
    addresses(config)?;
    members(config)?;
    timing(config)?;
    sizes(config)
}

fn identity(config: &NodeConfig) -> Result<(), String> {
    if config.node_id == 0 {
        return Err("node_id is missing; give each node its own number, from 1".to_owned());
    }
    if config.cluster_id.is_empty() || config.cluster_id.len() > CLUSTER_ID_BYTES_MAX {
        return Err(format!("cluster_id must have 1 to {CLUSTER_ID_BYTES_MAX} bytes"));
    }
    if config.data_dir.as_os_str().is_empty() {
        return Err("data_dir is missing; name a directory on a disk that is kept".to_owned());
    }
    let token = config.admin_token.len();
    if token != 0 && token < ADMIN_TOKEN_BYTES_MIN {
        return Err(format!(
            "admin_token has {token} bytes; at least {ADMIN_TOKEN_BYTES_MIN} are needed"
        ));
    }
    Ok(())
}

fn addresses(config: &NodeConfig) -> Result<(), String> {
    if !config.peer_listen.ip().is_loopback() && !config.insecure_peers {
        return Err(format!(
            "peer_listen {} is beyond loopback and the peer protocol is in clear text; listen on \
             127.0.0.1, or set insecure_peers = true on a network you trust wholly",
            config.peer_listen
        ));
    }
    for (key, advertised, listen) in [
        ("http_advertise", &config.http_advertise, config.http_listen),
        ("peer_advertise", &config.peer_advertise, config.peer_listen),
    ] {
        if advertised.is_empty() && listen.ip().is_unspecified() {
            return Err(format!("{key} is missing: nobody can connect to {listen}"));
        }
        if !advertised.is_empty() && !is_host_port(advertised) {
            return Err(format!("{key} {advertised:?} is not host:port"));
        }
    }
    Ok(())
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

fn members(config: &NodeConfig) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for member in &config.members {
        if member.id == 0 {
            return Err("members: ids count from 1".to_owned());
        }
        if !ids.insert(member.id) {
            return Err(format!("members: the id {} is there twice", member.id));
        }
        for address in [&member.peer, &member.http] {
            if !is_host_port(address) {
                return Err(format!("members: {address:?} of node {} is not host:port", member.id));
            }
        }
    }
    if !ids.is_empty() && !ids.contains(&config.node_id) {
        return Err(format!(
            "members does not hold this node, {}; a node that joins later has no members",
            config.node_id
        ));
    }
    Ok(())
}

fn timing(config: &NodeConfig) -> Result<(), String> {
    if config.heartbeat_ms == 0 || config.election_ms_min < 3 * config.heartbeat_ms {
        return Err(format!(
            "election_ms_min {} must be at least three times heartbeat_ms {}, or elections are \
             held for nothing",
            config.election_ms_min, config.heartbeat_ms
        ));
    }
    if config.election_ms_max <= config.election_ms_min {
        return Err("election_ms_max must be larger than election_ms_min".to_owned());
    }
    if !(1_000..=DRAIN_MS_MAX).contains(&config.drain_ms_max) {
        return Err(format!("drain_ms_max must be 1000 to {DRAIN_MS_MAX}"));
    }
    if config.request_wait_ms_max == 0 {
        return Err("request_wait_ms_max must be at least 1".to_owned());
    }
    Ok(())
}

fn sizes(config: &NodeConfig) -> Result<(), String> {
    if config.log_segment_bytes < LOG_SEGMENT_BYTES_MIN {
        return Err(format!("log_segment_bytes must be at least {LOG_SEGMENT_BYTES_MIN}"));
    }
    if config.log_bytes_max < 2 * config.log_segment_bytes {
        return Err("log_bytes_max must be at least twice log_segment_bytes".to_owned());
    }
    if config.memtable_bytes < MEMTABLE_BYTES_MIN {
        return Err(format!("memtable_bytes must be at least {MEMTABLE_BYTES_MIN}"));
    }
    if config.connections_max == 0 {
        return Err("connections_max must be at least 1".to_owned());
    }
    if !(1024..=REQUEST_BYTES_MAX).contains(&config.request_bytes_max) {
        return Err(format!("request_bytes_max must be 1024 to {REQUEST_BYTES_MAX}"));
    }
    Ok(())
}
