//! The program as its users run it: real processes, real files, real sockets, on loopback.

mod common;

use std::time::{Duration, Instant};

use common::{Cluster, ExtraNode, LONG, free_base, signal, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// Posts `body` as one message, again with the same key while the answer is not certain.
fn post_until_done(cluster: &Cluster, queue: &str, first: u64, body: &str) {
    let path = format!("{}/messages", cluster.queue(queue));
    let messages = format!(r#"{{"messages":[{{"body":"{body}"}}]}}"#);
    let mut node = first;
    wait_for(LONG, "a post to succeed", || {
        let answer = cluster.ask_keyed(node, "POST", &path, &messages, body);
        node = node % 3 + 1;
        matches!(answer, Some((201, _)))
    });
}

/// Reserves and deletes until the queue is empty; gives the bodies in order.
fn take_all(cluster: &Cluster, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let reserve = format!("{}/reservations", cluster.queue(queue));
    loop {
        let node = bodies.len() as u64 % 3 + 1;
        let (status, answer) =
            cluster.ask(node, "POST", &reserve, r#"{"n":100}"#).expect("an answer");
        assert_eq!(status, 200, "{answer}");
        let messages = answer["messages"].as_array().expect("messages");
        if messages.is_empty() {
            return bodies;
        }
        for message in messages {
            bodies.push(message["body"].as_str().expect("a body").to_owned());
            ack(cluster, queue, node, message);
        }
    }
}

fn ack(cluster: &Cluster, queue: &str, node: u64, message: &Value) {
    let path =
        format!("{}/messages/{}", cluster.queue(queue), message["id"].as_str().expect("an id"));
    let body = format!(r#"{{"reservation_id":{}}}"#, message["reservation_id"]);
    let (status, answer) = cluster.ask(node, "DELETE", &path, &body).expect("an answer");
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn every_node_serves_and_the_same_directory_finds_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let base = free_base();
    let cluster = Cluster::start(dir.path(), &["--nodes", "3", "--http-port", &base]);
    assert_eq!(cluster.file(), cluster.ready);
    assert_eq!(cluster.project().len(), 24);
    for id in 1..=3 {
        assert_eq!(cluster.ops(id, "/livez"), Some(200));
        assert_eq!(cluster.ops(id, "/readyz"), Some(200));
        assert_eq!(cluster.ops(id, "/metrics"), Some(200));
        post_until_done(&cluster, "first", id, &format!("from-{id}"));
    }
    assert_eq!(take_all(&cluster, "first"), ["from-1", "from-2", "from-3"]);
    post_until_done(&cluster, "kept", 2, "kept-1");
    let before = cluster.ready.clone();
    assert!(cluster.stop().success());

    let cluster = Cluster::start(dir.path(), &[]);
    for key in ["project_id", "token", "admin_token"] {
        assert_eq!(cluster.ready[key], before[key]);
    }
    assert_eq!(cluster.ready["nodes"][2]["http"], before["nodes"][2]["http"]);
    assert_eq!(take_all(&cluster, "kept"), ["kept-1"]);
    assert!(take_all(&cluster, "first").is_empty());
    assert!(cluster.stop().success());
}

#[test]
fn a_killed_leader_is_started_again_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--http-port", &free_base()]);
    let mut sent = Vec::new();
    let mut killed = None;
    for i in 0..60u64 {
        if i == 20 {
            let leader = cluster.leader(1).expect("a leader");
            let pid = cluster.pid(leader).expect("the leader runs");
            signal(pid, Signal::KILL);
            killed = Some((leader, pid));
        }
        let body = format!("m-{i:03}");
        post_until_done(&cluster, "q", i % 3 + 1, &body);
        sent.push(body);
    }
    let (leader, pid) = killed.expect("a leader was killed");
    wait_for(LONG, "the killed node to run again", || {
        cluster.pid(leader).is_some_and(|now| now != pid)
    });
    wait_for(LONG, "the killed node to be ready", || cluster.ops(leader, "/readyz") == Some(200));
    assert_eq!(take_all(&cluster, "q"), sent);
    assert!(cluster.stop().success());
}

#[test]
fn a_node_drains_within_ten_seconds_and_hangup_starts_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--no-restart", "--http-port", &free_base()]);
    let leader = cluster.leader(1).expect("a leader");
    let begun = Instant::now();
    signal(cluster.pid(leader).expect("it runs"), Signal::TERM);
    wait_for(LONG, "the node to end", || cluster.pid(leader).is_none());
    assert!(begun.elapsed() < Duration::from_secs(10), "drained in {:?}", begun.elapsed());
    let other = leader % 3 + 1;
    post_until_done(&cluster, "q", other, "after");
    wait_for(LONG, "another leader", || cluster.leader(other).is_some_and(|now| now != leader));
    signal(cluster.supervisor(), Signal::HUP);
    wait_for(LONG, "the node to run again", || cluster.pid(leader).is_some());
    wait_for(LONG, "the node to be ready", || cluster.ops(leader, "/readyz") == Some(200));
    assert_eq!(take_all(&cluster, "q"), ["after"]);
    assert!(cluster.stop().success());
}

#[test]
fn nodes_end_with_their_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--nodes", "1", "--http-port", &free_base()]);
    assert_eq!(cluster.ops(1, "/livez"), Some(200));
    signal(cluster.supervisor(), Signal::KILL);
    wait_for(LONG, "the node to end", || cluster.ops(1, "/livez").is_none());
}

#[test]
fn the_client_commands_do_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--nodes", "1", "--http-port", &free_base()]);
    let posted = cluster.run_json(&["queue", "post", "q", "one", "two", "three"]);
    assert_eq!(posted["ids"].as_array().expect("ids").len(), 3);
    let peeked = cluster.run_json(&["queue", "peek", "q", "-n", "2"]);
    assert_eq!(peeked["messages"][1]["body"], "two");
    let reserved = cluster.run_json(&["queue", "reserve", "q", "-n", "2", "--timeout-secs", "30"]);
    let first = &reserved["messages"][0];
    assert_eq!(first["body"], "one");
    let (id, reservation) =
        (first["id"].as_str().unwrap(), first["reservation_id"].as_str().unwrap());
    let touched = cluster.run_json(&["queue", "touch", "q", id, "--reservation-id", reservation]);
    let reservation = touched["reservation_id"].as_str().expect("a new id");
    cluster.run_json(&["queue", "ack", "q", id, "--reservation-id", reservation]);
    let second = &reserved["messages"][1];
    let (id, reservation) =
        (second["id"].as_str().unwrap(), second["reservation_id"].as_str().unwrap());
    cluster.run_json(&["queue", "release", "q", id, "--reservation-id", reservation]);
    assert_eq!(cluster.run_json(&["queue", "info", "q"])["size"], 2);
    cluster.run_json(&["queue", "create", "dead"]);
    cluster.run_json(&["queue", "create", "q", "--dead-letter-queue", "dead"]);
    assert_eq!(cluster.run_json(&["queue", "list"])["queues"].as_array().unwrap().len(), 2);
    cluster.run_json(&["queue", "clear", "q"]);
    assert_eq!(cluster.run_json(&["queue", "info", "q"])["size"], 0);
    cluster.run_json(&["queue", "delete", "q"]);

    let token = cluster.run_json(&["token", "create", "--role", "reader", "--name", "r"]);
    let secret = token["token"].as_str().expect("the token, once");
    let refused = cluster.run(&["queue", "post", "dead", "x", "--token", secret]);
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    assert_eq!(cluster.run_json(&["token", "list"])["tokens"].as_array().unwrap().len(), 2);
    cluster.run_json(&["token", "revoke", token["id"].as_str().expect("its id")]);
    let gone = cluster.run(&["queue", "info", "dead", "--token", secret]);
    assert_eq!(gone.status.code(), Some(5), "{gone:?}");
    let missing = cluster.run(&["queue", "info", "none"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    assert_eq!(String::from_utf8_lossy(&missing.stderr), "error: Queue not found\n");
    let dead = cluster.run(&["queue", "list", "--url", "http://127.0.0.1:1"]);
    assert_eq!(dead.status.code(), Some(8), "{dead:?}");

    let project = cluster.run_json(&["project", "create", "second"]);
    let id = project["id"].as_str().expect("an id");
    assert_eq!(cluster.run_json(&["project", "info", id])["name"], "second");
    assert_eq!(cluster.run_json(&["project", "list"])["projects"].as_array().unwrap().len(), 2);
    cluster.run_json(&["project", "delete", id]);
    let status = cluster.run_json(&["cluster", "status"]);
    assert_eq!(status["leader"], 1);
    let last = cluster.run(&["cluster", "leave", "1"]);
    assert!(!last.status.success(), "{last:?}");

    let report = cluster.run_json(&[
        "bench",
        "queue",
        "--clients",
        "4",
        "--secs",
        "1",
        "--warmup-secs",
        "0",
        "--size",
        "100",
    ]);
    assert!(report["cycles"].as_u64().expect("cycles") > 0, "{report}");
    assert_eq!(report["errors"], serde_json::json!({}), "{report}");
    assert!(cluster.stop().success());
}

#[test]
fn leadership_moves_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--http-port", &free_base()]);
    let leader = cluster.leader(1).expect("a leader");
    let next = leader % 3 + 1;
    cluster.run_json(&["cluster", "transfer", &next.to_string()]);
    wait_for(LONG, "the transfer", || cluster.leader(next) == Some(next));
    assert!(cluster.stop().success());
}

/// Ids of the voters, by the status of the cluster.
fn voters(cluster: &Cluster) -> Vec<u64> {
    let status = cluster.run_json(&["cluster", "status"]);
    let members = status["members"].as_array().expect("members");
    let voters = members.iter().filter(|member| member["voter"] == true);
    voters.map(|member| member["node"].as_u64().expect("an id")).collect()
}

#[test]
fn a_node_joins_and_another_takes_the_place_of_a_lost_one() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--no-restart", "--http-port", &free_base()]);
    for i in 0..5u64 {
        post_until_done(&cluster, "q", i % 3 + 1, &format!("m-{i}"));
    }
    let fourth = ExtraNode::start(&cluster, 4);
    cluster.run_json(&["cluster", "join", "4", "--peer", &fourth.peer, "--http", &fourth.http]);
    assert_eq!(voters(&cluster), [1, 2, 3, 4]);
    // The new node serves what was there before it.
    let path = format!("{}/messages?n=100", cluster.queue("q"));
    wait_for(LONG, "the new node to show the messages", || {
        fourth.ask(&cluster, "GET", &path, "").is_some_and(|(status, answer)| {
            status == 200 && answer["messages"].as_array().is_some_and(|m| m.len() == 5)
        })
    });

    signal(cluster.pid(3).expect("it runs"), Signal::KILL);
    wait_for(LONG, "the node to end", || cluster.pid(3).is_none());
    let fifth = ExtraNode::start(&cluster, 5);
    let by = ["--by", "5", "--peer", &fifth.peer, "--http", &fifth.http];
    cluster.run_json(&[&["cluster", "replace", "3"], &by[..]].concat());
    assert_eq!(voters(&cluster), [1, 2, 4, 5]);
    cluster.run_json(&["cluster", "leave", "4"]);
    assert_eq!(voters(&cluster), [1, 2, 5]);
    let again = ["cluster", "join", "4", "--peer", &fourth.peer, "--http", &fourth.http];
    assert!(!cluster.run(&again).status.success(), "an id is never used twice");
    post_until_done(&cluster, "q", 1, "m-5");
    let reserve = format!("{}/reservations", cluster.queue("q"));
    let (status, answer) =
        fifth.ask(&cluster, "POST", &reserve, r#"{"n":10}"#).expect("the new node answers");
    assert_eq!(status, 200, "{answer}");
    let bodies: Vec<&str> =
        answer["messages"].as_array().unwrap().iter().filter_map(|m| m["body"].as_str()).collect();
    assert_eq!(bodies, ["m-0", "m-1", "m-2", "m-3", "m-4", "m-5"]);
    assert!(cluster.stop().success());
}
