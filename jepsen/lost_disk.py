"""(d) of `catchup.py`: a follower loses its disk, and a new node takes its place.

Under its old id the emptied node must be refused, and say so: it once had data that it may have
voted for. It returns as a node of another id by `bessemer cluster replace`.
"""

import json
import shutil
import subprocess
import threading
import time

import returns
from catchup_run import within
from clients import clusters

NEW_NODE = 4
# Until peers have said something of the emptied node, and how long it is watched then.
REFUSAL_S, REFUSED_S = 20, 5
STOP_S = 15
REFUSAL = "refusing a node whose disk lost data"


class AddedNode:
    """A fourth node, which no supervisor knows; it ends with this program."""

    node = NEW_NODE

    def __init__(self, run):
        base = clusters.free_ports(3)
        self.http_address, self.peer = f"127.0.0.1:{base}", f"127.0.0.1:{base + 2}"
        self.http = f"http://{self.http_address}"
        folder = run.node_dir(self.node)
        folder.mkdir()
        plan = json.loads((run.cluster.directory / "dev.json").read_text())
        config = {
            "node_id": self.node, "cluster_id": plan["cluster_id"],
            "data_dir": str(folder / "data"), "http_listen": self.http_address,
            "ops_listen": f"127.0.0.1:{base + 1}", "peer_listen": self.peer, "members": [],
            "admin_token_file": str(run.cluster.directory / "admin_token"),
        }
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in config.items()]
        (folder / "node.toml").write_text("".join(lines))
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [run.cluster.binary, "node", "--config", str(folder / "node.toml"),
                 "--end-with-input"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                env={**clusters.own_environment(), **run.cluster.extra_environment},
            )
        self.pid = self.process.pid

    def stop(self):
        """SIGTERM, and SIGKILL when that does not end it in time; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)


class Changing(threading.Thread):
    """Asks for the replacement until it is done: a large state takes longer than one answer."""

    def __init__(self, run, node, deadline):
        super().__init__(name="changing", daemon=True)
        self.shared, self.node, self.deadline = run, node, deadline
        self.tries, self.last = 0, None

    def run(self):
        added = self.shared.added
        words = ["replace", self.node, "--by", added.node, "--peer", added.peer,
                 "--http", added.http_address]
        while True:
            self.tries += 1
            self.last = self.shared.cli(*words)
            if self.last.returncode == 0 or time.monotonic() > self.deadline:
                return
            time.sleep(0.5)


def lost_disk(run):
    """(d)"""
    node = run.follower(0)
    with run.live():
        time.sleep(returns.BASELINE_S)
        began = time.monotonic()
        refused(run, node)
        returns.report_latency(run, "d, refused", (began - returns.BASELINE_S, began),
                               (began, time.monotonic()))
        follow = replace(run, node)
    returns.settle(run, "d", [other for other in run.urls() if other != node])
    returns.check_one_snapshot(run, "d", follow)


def refused(run, node):
    """(d), first half: a node with an empty disk under its old id takes part in nothing."""
    run.kill(node)
    shutil.rmtree(run.node_dir(node) / "data")
    others = [other for other in run.urls() if other != node]
    read_before = {other: len(run.log_of(other)) for other in run.urls()}
    term = run.status(run.leader())["term"]
    began = time.monotonic()
    run.revive(node)

    def said(nodes):
        """What nodes have written to their logs since."""
        return [line for other in nodes
                for line in run.log_of(other)[read_before[other]:].splitlines()]

    def peers_refuse():
        return any(REFUSAL in line for line in said(others)) or not run.pids()[node]

    within(REFUSAL_S, peers_refuse)
    time.sleep(REFUSED_S)
    seconds = time.monotonic() - began
    lines = [line for line in said(others) if REFUSAL in line]
    run.check("(d) peers refuse the wiped node under its old id", lines,
              lines[0][-160:] if lines else "no line says so")
    own = [line for line in said([node]) if " ERROR " in line and "refuse" in line]
    ended = not run.pids()[node]
    run.check("(d) the wiped node itself says why", own,
              own[-1][-200:] if own else "nothing in its log")
    status = None if ended else run.status(node)
    run.check("(d) it gets no state", not status or status["applied"] <= 1,
              f"applied {status['applied'] if status else 'nothing'}")
    now = run.status(run.leader())
    run.check("(d) it disturbs no term", now["term"] == term, f"{term}, then {now['term']}")
    errors = {other: sum(" ERROR " in line for line in said([other])) for other in run.urls()}
    run.figure("(d) refused", {"node": node, "seconds": round(seconds, 1),
                               "process_ended": ended, "lines_at_error_by_node": errors})
    again = run.cli("join", node, "--peer", "127.0.0.1:1", "--http", "127.0.0.1:1")
    run.check("(d) its id cannot join again", again.returncode != 0, again.stderr.strip()[-160:])


def replace(run, node):
    """(d), second half: a new node takes its place; gives how it came."""
    run.cluster.kill(node)
    sender, began = run.leader(), time.monotonic()
    run.forget_peaks()
    run.added = AddedNode(run)
    follow = returns.CatchUp(run, NEW_NODE)
    changing = Changing(run, node, began + run.options.patience)
    changing.start()
    done = follow.wait(run.options.patience)
    changing.join()
    returns.report_transfer(run, "d", follow, sender, began)
    run.must("(d) the new node catches up", done, follow.said())
    run.check("(d) `bessemer cluster replace` succeeds", changing.last.returncode == 0,
              f"{changing.tries} tries; {changing.last.stderr.strip()[-160:]}")
    voters = sorted(member for member, at in run.members().items() if at["voter"])
    wanted = sorted([*(other for other in (1, 2, 3) if other != node), NEW_NODE])
    run.check("(d) it votes in the place of the old one", voters == wanted, f"voters {voters}")
    return follow
