"""One run of `catchup.py`: the cluster, what was posted to it, what was found.

Not here: what happens in which order (`catchup.py`), and how a node comes back (`returns.py`).
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time

import clients
import harness
import memory
import posting
from clients import clusters
from memory import MIB

# Four bodies stay below the request size of 256 KiB.
FILL_CLIENTS, FILL = 4, posting.Shape("catchup-fill", 4, 60_000)
LIVE_CLIENTS, LIVE = 8, posting.Shape("catchup-live", 1, 4096)
LEADER_S = 30
CLI_S = 120


class Violated(Exception):
    """A check failed and what comes after it makes no sense."""


def within(seconds, check, pause_s=0.05):
    """Whether `check` gives something true within `seconds`."""
    try:
        return clusters.wait_until("it", seconds, check, pause_s)
    except clusters.Failed:
        return False


class Run(clients.Run):
    """What all phases share. It keeps posts and findings itself, so it records no history."""

    def __init__(self, cluster, options):
        super().__init__(cluster, None, options.seed)
        self.options = options
        self.bodies = posting.Bodies(options.seed)
        self.random = random.Random(options.seed)
        self.posts = []  # written under `lock`
        self.posters = 0  # so many were started
        self.added = None  # the node that replaces another; not the supervisor's
        self.checks, self.figures = [], {}
        self.sampler = memory.Sampler(self.pids)

    # ---- findings -----------------------------------------------------------------------------

    def check(self, name, right, said=""):
        """Notes one finding; returns whether it is right."""
        self.checks.append({"name": name, "ok": bool(right), "said": str(said)})
        print(f"    {'ok' if right else 'VIOLATED':8} {name}{f': {said}' if said else ''}",
              flush=True)
        return right

    def must(self, name, right, said=""):
        if not self.check(name, right, said):
            raise Violated(name)

    def figure(self, name, values):
        self.figures[name] = values
        print(f"    {name}: {json.dumps(values)}", flush=True)

    # ---- load ---------------------------------------------------------------------------------

    def note_posts(self, posts):
        with self.lock:
            self.posts.extend(posts)

    def posted_bytes(self):
        with self.lock:
            return sum(post.size for post in self.posts)

    @contextlib.contextmanager
    def posting(self, count, shape):
        """Has `count` clients post until the block ends."""
        stopping, posters = threading.Event(), []
        for _ in range(count):
            self.posters += 1
            posters.append(posting.Poster(self, self.posters, shape, stopping))
        for poster in posters:
            poster.start()
        try:
            yield
        finally:
            stopping.set()
            harness.join(posters)
        self.raise_harness_errors()

    def live(self):
        return self.posting(LIVE_CLIENTS, LIVE)

    def fill(self, what, seconds, enough):
        """Posts large messages until `enough()`, which must be soon; gives a text on how much."""
        before, began = self.posted_bytes(), time.monotonic()
        with self.posting(FILL_CLIENTS, FILL):
            done = within(seconds, lambda: self.harness_errors or enough(), 0.2)
        mib, took = (self.posted_bytes() - before) / MIB, time.monotonic() - began
        said = f"{mib:.0f} MiB in {took:.0f} s, {mib / took:.1f} MiB/s"
        self.must(what, done, said)
        return said

    def latencies_s(self, t_from, t_to):
        """Of the small posts that were acknowledged in a span of time."""
        with self.lock:
            return [post.t_ok - post.t_inv for post in self.posts
                    if post.queue == LIVE.queue and post.known and t_from <= post.t_ok <= t_to]

    # ---- what nodes say -----------------------------------------------------------------------

    def node_dir(self, node):
        return self.cluster.directory / f"node-{node}"

    def log_of(self, node):
        with contextlib.suppress(OSError):
            return (self.node_dir(node) / "log").read_text(errors="replace")
        return ""

    def pids(self):
        """Node id to process id; None for one that is down."""
        pids = {node["id"]: node["pid"] for node in self.cluster.reload()["nodes"]}
        if self.added:
            pids[self.added.node] = self.added.pid
        return pids

    def forget_peaks(self):
        for pid in filter(None, self.pids().values()):
            memory.forget_peak(pid)

    def urls(self):
        """Node id to address of the HTTP door."""
        urls = {node["id"]: node["http"] for node in self.cluster.info["nodes"]}
        if self.added:
            urls[self.added.node] = self.added.http
        return urls

    def purged(self, node):
        """The newest entry that one of the supervisor's nodes has cut off its log."""
        with contextlib.suppress(clusters.Unsent, clusters.Unknown):
            return harness.metrics(self.cluster.node(node)["metrics"]).get(
                "bessemer_purged_index", 0)
        return 0

    def status(self, node):
        """`/v1/cluster` of a node, or None when it does not answer."""
        token = self.cluster.info["admin_token"]
        try:
            answer = clusters.request(self.urls()[node], "GET", "/v1/cluster", token, timeout_s=2)
        except (clusters.Unsent, clusters.Unknown):
            return None
        return answer.body if answer.status == 200 else None

    def leader(self):
        return self.cluster.wait_leader(LEADER_S)

    def members(self):
        """Members as the leader knows them, by id."""
        status = self.status(self.leader()) or {"members": []}
        return {member["node"]: member for member in status["members"]}

    def follower(self, number):
        """One of the supervisor's nodes that follows."""
        leader = self.leader()
        others = [node["id"] for node in self.cluster.info["nodes"] if node["id"] != leader]
        return others[number % len(others)]

    # ---- what is done to them -----------------------------------------------------------------

    def kill(self, node):
        """kill -9; returns the newest entry the leader knew to be on the node."""
        matched = self.members()[node].get("matched", 0)
        pid = self.cluster.kill(node)
        # Until the supervisor has seen it, it would not start the node again.
        clusters.wait_until(f"node {node} missed", 10, lambda: not self.pids()[node], 0.01)
        print(f"    kill -9 of node {node}, a follower (pid {pid})", flush=True)
        return matched

    def revive(self, node):
        """Has the supervisor start a node that is down."""
        os.kill(self.cluster.supervisor.pid, signal.SIGHUP)
        clusters.wait_until(f"node {node} started", 10, lambda: self.pids()[node], 0.01)

    def cli(self, *words):
        """Runs `bessemer cluster WORDS`, as an operator would."""
        environment = clusters.own_environment()
        environment["BESSEMER_URL"] = ",".join(self.urls().values())
        environment["BESSEMER_TOKEN"] = self.cluster.info["admin_token"]
        command = [self.cluster.binary, "cluster", *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True,
                              timeout=CLI_S)
