//! Real clusters for tests: starts `bessemer dev`, speaks raw HTTP, ends what it started.
//!
//! Every wait has a deadline; only children of this process are killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Long enough for a loaded machine; a passing test takes a small part of it.
pub const LONG: Duration = Duration::from_secs(90);

const PROGRAM: &str = env!("CARGO_BIN_EXE_bessemer");

/// A running `bessemer dev`. Dropped, it is killed, and its nodes end with it.
pub struct Cluster {
    child: Child,
    pub dir: PathBuf,
    pub ready: Value,
}

impl Cluster {
    /// Starts a cluster in `dir` and waits until it says that it is ready.
    pub fn start(dir: &Path, options: &[&str]) -> Cluster {
        let mut command = Command::new(PROGRAM);
        command.args(["dev", "--json", "--dir"]).arg(dir).args(options);
        command.env("BESSEMER_LOG_SEGMENT_BYTES", "16777216");
        command.env("BESSEMER_LOG_BYTES_MAX", "67108864");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let line = first_line(&mut child, LONG);
        let Some(line) = line else {
            let _gone = child.kill();
            panic!("the cluster was not ready in time; logs:\n{}", logs(dir));
        };
        let ready = serde_json::from_str(&line).expect("the first line is JSON");
        Cluster { child, dir: dir.to_owned(), ready }
    }

    /// `cluster.json` as it is now.
    pub fn file(&self) -> Value {
        let bytes = std::fs::read(self.dir.join("cluster.json")).expect("cluster.json is there");
        serde_json::from_slice(&bytes).expect("cluster.json is whole at any moment")
    }

    pub fn project(&self) -> &str {
        self.ready["project_id"].as_str().expect("a project id")
    }

    /// The process of node `id`; `None` while it is down.
    pub fn pid(&self, id: u64) -> Option<u32> {
        let file = self.file();
        let nodes = file["nodes"].as_array().expect("nodes");
        let node = nodes.iter().find(|n| n["id"] == id).expect("the node is listed");
        node["pid"].as_u64().map(|pid| pid as u32)
    }

    fn address(&self, id: u64, door: &str) -> String {
        let nodes = self.ready["nodes"].as_array().expect("nodes");
        let node = nodes.iter().find(|n| n["id"] == id).expect("the node is listed");
        let url = node[door].as_str().expect("an address");
        url.trim_start_matches("http://").split('/').next().expect("a host").to_owned()
    }

    /// Asks node `id` with the project's token.
    pub fn ask(&self, id: u64, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let token = self.ready["token"].as_str().expect("a token");
        ask(&self.address(id, "http"), method, path, token, body, "")
    }

    /// The same with an idempotency key.
    pub fn ask_keyed(
        &self,
        id: u64,
        method: &str,
        path: &str,
        body: &str,
        key: &str,
    ) -> Option<(u16, Value)> {
        let token = self.ready["token"].as_str().expect("a token");
        let header = format!("Idempotency-Key: {key}\r\n");
        ask(&self.address(id, "http"), method, path, token, body, &header)
    }

    /// Asks the operator's door of node `id`; gives the status.
    pub fn ops(&self, id: u64, path: &str) -> Option<u16> {
        raw(&self.address(id, "metrics"), &format!("GET {path}"), "", "").map(|(status, _)| status)
    }

    /// The leader, as node `id` sees it.
    pub fn leader(&self, id: u64) -> Option<u64> {
        let token = self.ready["admin_token"].as_str().expect("a token");
        let (status, body) = ask(&self.address(id, "http"), "GET", "/v1/cluster", token, "", "")?;
        if status == 200 { body["leader"].as_u64() } else { None }
    }

    /// Path of a queue on the IronMQ door.
    pub fn queue(&self, name: &str) -> String {
        format!("/3/projects/{}/queues/{name}", self.project())
    }

    /// Runs a client command against this cluster.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--dir").arg(&self.dir);
        for name in ["BESSEMER_URL", "BESSEMER_TOKEN", "BESSEMER_PROJECT"] {
            command.env_remove(name);
        }
        command.output().expect("the program runs")
    }

    /// Runs a client command that must succeed; gives its JSON.
    pub fn run_json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("the output is JSON")
    }

    pub fn supervisor(&self) -> u32 {
        self.child.id()
    }

    /// Tells the supervisor to stop and waits for it.
    pub fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), Signal::TERM);
        let mut status = None;
        wait_for(Duration::from_secs(30), "the supervisor to end", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("the wait ended with a status")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Also after a failed test: the nodes see their input closed and end.
        let _gone = self.child.kill();
        let _status = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", logs(&self.dir));
        }
    }
}

/// A node started beside the supervisor's. Dropped, it is killed.
pub struct ExtraNode {
    child: Child,
    pub http: String,
    pub peer: String,
}

impl ExtraNode {
    /// Starts node `id` of `cluster` as an operator would, waiting to be joined.
    pub fn start(cluster: &Cluster, id: u64) -> ExtraNode {
        let plan = std::fs::read(cluster.dir.join("dev.json")).expect("dev.json is there");
        let plan: Value = serde_json::from_slice(&plan).expect("dev.json is JSON");
        let base: u16 = free_base().parse().expect("a port");
        let at = |offset: u16| format!("127.0.0.1:{}", base + offset);
        let dir = cluster.dir.join(format!("node-{id}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        let child = Command::new(PROGRAM)
            .args(["node", "--node-id", &id.to_string()])
            .args(["--cluster-id", plan["cluster_id"].as_str().expect("its name")])
            .args(["--http-listen", &at(0), "--ops-listen", &at(1), "--peer-listen", &at(2)])
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg("--admin-token-file")
            .arg(cluster.dir.join("admin_token"))
            .args(["--log-segment-bytes", "16777216", "--end-with-input"])
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        ExtraNode { child, http: at(0), peer: at(2) }
    }

    /// Asks it with the token of the cluster's project.
    pub fn ask(
        &self,
        cluster: &Cluster,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<(u16, Value)> {
        let token = cluster.ready["token"].as_str().expect("a token");
        ask(&self.http, method, path, token, body, "")
    }
}

impl Drop for ExtraNode {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Three free ports in a row, different for each call of this process.
pub fn free_base() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 500) as u16 * 10;
    for _ in 0..500 {
        let base = 12_000 + (offset + NEXT.fetch_add(10, Ordering::Relaxed)) % 7_000;
        if (0..3).all(|i| TcpListener::bind(("127.0.0.1", base + i)).is_ok()) {
            return base.to_string();
        }
    }
    panic!("no free ports");
}

/// Sends `signal` to a process this test started, or whose parent it started.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid is not 0");
    kill_process(pid, signal).expect("the process is there");
}

/// Waits until `reached` is true; fails the test after `longest`.
pub fn wait_for(longest: Duration, what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + longest;
    while !reached() {
        assert!(Instant::now() < end, "waited {longest:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn ask(
    address: &str,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
    header: &str,
) -> Option<(u16, Value)> {
    let headers = format!("Authorization: OAuth {token}\r\n{header}");
    let (status, body) = raw(address, &format!("{method} {path}"), &headers, body)?;
    Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

/// One request on its own connection; `None` when there is no whole answer.
fn raw(address: &str, line: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The first line of the child's output, within `longest`.
fn first_line(child: &mut Child, longest: Duration) -> Option<String> {
    let out = child.stdout.take().expect("the output is piped");
    let (line, first) = mpsc::sync_channel(1);
    // Ends with the child's output, at the latest when the child ends.
    std::thread::spawn(move || {
        let mut lines = BufReader::new(out).lines();
        if let Some(Ok(text)) = lines.next() {
            let _too_late = line.send(text);
        }
        for _rest in lines {}
    });
    first.recv_timeout(longest).ok()
}

/// The ends of all nodes' logs.
fn logs(dir: &Path) -> String {
    let mut text = String::new();
    for id in 1..=5 {
        let log = std::fs::read_to_string(dir.join(format!("node-{id}/log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        text += &format!("--- node {id}\n{tail}\n");
    }
    text
}
