"""A cluster of real processes for tests: starts `bessemer dev`, talks HTTP to it, kills nodes.

Standard library only. Everything is bounded in time, stays on loopback, and signals only the
processes that `DIR/cluster.json` of the own supervisor names, after a look at what they are.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

READY_S = 90
STOP_S = 25


class Failed(Exception):
    """The cluster did not do what it must."""


class Unsent(Failed):
    """The request certainly reached nobody: the connection was refused."""


class Unknown(Failed):
    """The request may or may not have been carried out."""


class Answer:
    """Status and JSON body of an HTTP answer."""

    def __init__(self, status, body):
        self.status = status
        self.body = body

    def __repr__(self):
        return f"{self.status} {self.body}"


def request(url, method, path, token, body=None, key=None, timeout_s=10.0):
    """One HTTP request on its own connection. Raises `Unsent` or `Unknown`, never guesses."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Authorization": f"OAuth {token}", "Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise Unsent(f"{url}: {error}") from error
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unknown(f"{method} {url}{path}: {error!r}") from error
    finally:
        connection.close()
    try:
        return Answer(response.status, json.loads(text) if text else None)
    except ValueError:
        return Answer(response.status, {"text": text.decode("utf-8", "replace")})


def free_ports(count, first=None):
    """A base such that `count` ports from it are free now: `first` if it can be had.

    Any other is drawn at random: a port must stay free while its node is down, also when clusters
    of other tests start at that moment.
    """
    bases = random.sample(range(10_000, 20_000, 10), 1_000)
    for base in bases if first is None else [first, *bases]:
        if all(port_is_free(base + i) for i in range(count)):
            return base
    raise Failed("no free ports on 127.0.0.1")


def port_is_free(port):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(what, seconds, check, pause_s=0.05):
    """Asks `check` until it gives something true; raises `Failed` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(pause_s)


def own_environment():
    """The environment without what would configure nodes or name another cluster."""
    return {name: text for name, text in os.environ.items() if not name.startswith("BESSEMER_")}


def die_with_parent():
    """Runs in the child: SIGTERM when the parent is gone."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def process_is(pid, *words):
    """Whether `pid` lives and its command line holds all `words`."""
    try:
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z" and all(word in command for word in words)


class Cluster:
    """`bessemer dev` as a child, and what its `cluster.json` says.

    `restart=False` starts it with `--no-restart`: a killed node stays down. A new cluster serves
    from port `first_port` on, if it is free.
    """

    def __init__(self, binary, directory, nodes=3, fresh=False, restart=True, first_port=None):
        self.binary = str(binary)
        self.directory = pathlib.Path(directory).absolute()
        self.node_count = nodes
        self.restart = restart
        self.first_port = first_port
        self.supervisor = None
        self.extra_environment = {}  # configuration of the nodes, as BESSEMER_* variables
        if fresh:
            self.remove()

    def remove(self):
        """Removes the data; refused for a directory that no cluster made."""
        if not self.directory.exists():
            return
        ours = (self.directory / ".made-for-a-cluster").exists()
        if not ours and any(self.directory.iterdir()):
            raise Failed(f"{self.directory} was not made by this script: remove it yourself")
        shutil.rmtree(self.directory)

    # ---- life ---------------------------------------------------------------------------------

    def start(self):
        """Starts all nodes; returns when a leader is elected and a write has succeeded."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / ".made-for-a-cluster").touch()
        command = [self.binary, "dev", "--json", "--nodes", str(self.node_count)]
        command += ["--dir", str(self.directory)]
        if not (self.directory / "cluster.json").exists():  # else it keeps its ports
            command += ["--http-port", str(free_ports(self.node_count, self.first_port))]
        if not self.restart:
            command.append("--no-restart")
        self.log = open(self.directory / "supervisor.log", "ab")
        self.supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**own_environment(), **self.extra_environment},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        (self.directory / "up.pid").write_text(str(self.supervisor.pid))
        self.info = json.loads(self.ready_line())
        return self

    def ready_line(self):
        os.set_blocking(self.supervisor.stdout.fileno(), False)
        text = b""

        def check():
            nonlocal text
            with contextlib.suppress(BlockingIOError):
                text += os.read(self.supervisor.stdout.fileno(), 65536)
            if self.supervisor.poll() is not None:
                raise Failed(f"bessemer dev ended with {self.supervisor.returncode}: {self.said()}")
            return b"\n" in text

        try:
            wait_until("cluster ready", READY_S, check)
        except Failed:
            self.stop()
            raise
        return text.split(b"\n")[0]

    def said(self):
        """The end of what the supervisor wrote to its log."""
        text = (self.directory / "supervisor.log").read_text(errors="replace")
        return text[-800:].strip() or "(it said nothing)"

    def stop(self):
        """SIGTERM to the supervisor, which stops its nodes; SIGKILL when it does not."""
        if self.supervisor is None:
            return 0
        if self.supervisor.poll() is None:
            self.supervisor.terminate()
            try:
                self.supervisor.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill_all_processes()
        self.supervisor.stdout.close()
        self.log.close()
        (self.directory / "up.pid").unlink(missing_ok=True)
        return self.supervisor.returncode

    def kill_all_processes(self):
        self.supervisor.kill()
        self.supervisor.wait(5)
        for node in self.reload()["nodes"]:
            if process_is(node["pid"], "bessemer"):
                os.kill(node["pid"], signal.SIGKILL)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # ---- what it looks like now ---------------------------------------------------------------

    def reload(self):
        """Reads `cluster.json` again: pids change when nodes are restarted."""
        self.info = json.loads((self.directory / "cluster.json").read_text())
        return self.info

    def node(self, node_id):
        return next(node for node in self.reload()["nodes"] if node["id"] == node_id)

    @property
    def urls(self):
        return [node["http"] for node in self.info["nodes"]]

    @property
    def queues_path(self):
        return f"/3/projects/{self.info['project_id']}/queues"

    def ask(self, node_index, method, path, body=None, key=None, timeout_s=10.0):
        """A request of the project's token below `/3/projects/P/queues`."""
        url = self.urls[node_index % len(self.urls)]
        full = self.queues_path + path
        return request(url, method, full, self.info["token"], body, key, timeout_s)

    def status(self, node_index):
        """`/v1/cluster` of one node, or None when it does not answer."""
        url = self.urls[node_index % len(self.urls)]
        try:
            answer = request(url, "GET", "/v1/cluster", self.info["admin_token"], timeout_s=2.0)
        except (Unsent, Unknown):
            return None
        return answer.body if answer.status == 200 else None

    def leader(self):
        """Id of the node that a majority of the answering nodes calls leader, or None."""
        answers = [self.status(index) for index in range(len(self.urls))]
        named = [answer["leader"] for answer in answers if answer and answer.get("leader")]
        for node_id in named:
            if 2 * named.count(node_id) > len(self.urls):
                return node_id
        return None

    def wait_leader(self, seconds=20):
        return wait_until("a leader that most nodes name", seconds, self.leader)

    def kill(self, node_id):
        """kill -9 of one node; returns its pid once the kernel no longer has it."""
        pid = self.node(node_id)["pid"]
        if not process_is(pid, "bessemer"):
            return None
        os.kill(pid, signal.SIGKILL)
        wait_until(f"node {node_id} gone", 10, lambda: not process_is(pid, "bessemer"), 0.005)
        return pid

    def wait_node(self, node_id, seconds=60):
        """Waits until a node answers a read of its own."""
        index = [node["id"] for node in self.info["nodes"]].index(node_id)
        wait_until(f"node {node_id} answers", seconds, lambda: self.reads(index), 0.1)

    def reads(self, index):
        self.reload()
        try:
            return self.ask(index, "GET", "?per_page=1", timeout_s=3.0).status == 200
        except (Unsent, Unknown):
            return False


def stop_running(directory):
    """Stops a cluster that another process started in `directory`. True when there was one."""
    path = pathlib.Path(directory) / "up.pid"
    if not path.exists():
        return False
    pid = int(path.read_text())
    running = process_is(pid, "bessemer", "dev")
    if running:
        os.kill(pid, signal.SIGTERM)
        wait_until("the supervisor ends", STOP_S, lambda: not process_is(pid, "bessemer", "dev"))
    path.unlink(missing_ok=True)
    return running
