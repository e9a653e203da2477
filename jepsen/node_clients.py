"""Clients that each stay with one node, whatever becomes of it, and note what they hear.

Not here: the faults (`full_disk.py`), and which answers are right (`refusals.py`). A request is
sent once: its outcome counts, not that it succeeds in the end.
"""

import threading
import time
import traceback

import harness
from clients import clusters
from refusals import UNSENT, Answer

KEPT = "kept"
# Fills the log of a node whose disk is full; nearly the largest request.
BALLAST_BYTES = 200_000
# Messages per node that are acknowledged while posts are refused.
STOCK, STOCK_BATCH = 3000, 1000
# Only then a client gives up: an answer after refusals.ANSWER_S is seen for what it is.
REQUEST_S = 20
PAUSE_S = 0.02
DRAIN_COUNT = 100


class Load:
    """What all clients share."""

    def __init__(self, cluster, recorder):
        self.cluster = cluster
        self.recorder = recorder
        self.stopping = threading.Event()
        self.ballast = threading.Event()  # set while logs are to grow fast
        self.acks = threading.Event()  # set while stock is to be acknowledged
        self.silent = set()  # ids of nodes that nobody asks now
        self.answers = []
        self.harness_errors = []

    def ask(self, verb, node, method, path, body):
        """One request on one node. Returns its `Answer`, which is noted, and the body."""
        answer = None
        t_inv = time.monotonic()
        try:
            answer = self.cluster.ask(node - 1, method, path, body, timeout_s=REQUEST_S)
            status, text = answer.status, str((answer.body or {}).get("msg", ""))
        except clusters.Unsent:
            status, text = None, UNSENT
        except clusters.Unknown as error:
            status, text = None, str(error)
        heard = Answer(verb, node, t_inv, time.monotonic(), status, text)
        self.answers.append(heard)
        return heard, answer.body if answer else None

    def served_since(self, node, begin):
        """When a node first acknowledged a post that was sent after `begin`, or None."""
        return next((answer.t_ok for answer in list(self.answers)
                     if answer.verb == "post" and answer.node == node
                     and answer.outcome == "ok" and answer.t_inv >= begin), None)


class Client(threading.Thread):
    """One request at a time, always on the same node."""

    def __init__(self, load, node):
        super().__init__(name=f"{type(self).__name__}-{node}", daemon=True)
        self.load = load
        self.node = node

    def run(self):
        try:
            while not self.load.stopping.wait(PAUSE_S):
                if self.node not in self.load.silent:
                    self.work()
        except Exception:  # a fault of the harness must not look like one of the cluster
            self.load.harness_errors.append(traceback.format_exc())

    def ask(self, verb, method, path, body):
        return self.load.ask(verb, self.node, method, path, body)

    def take(self, verb, queue, count):
        """Reserves and acknowledges up to `count` messages."""
        _, body = self.ask("reserve", "POST", f"/{queue}/reservations", {"n": count})
        ids = [{"id": m["id"], "reservation_id": m["reservation_id"]}
               for m in (body or {}).get("messages", [])]
        if ids:
            self.ask(verb, "DELETE", f"/{queue}/messages", {"ids": ids})


class Writer(Client):
    """Posts numbered messages that stay until the end, and records every one."""

    count = 0

    def work(self):
        uids = [f"n{self.node}-{self.count + i}" for i in range(1 + self.count % 3)]
        self.count += len(uids)
        body = {"messages": [{"body": uid} for uid in uids]}
        heard, answer = self.ask("post", "POST", f"/{KEPT}/messages", body)
        self.load.recorder.add(
            op="post", queue=KEPT, node=self.node, t_inv=heard.t_inv, t_ok=heard.t_ok, keyed=False,
            outcome=heard.outcome, uids=uids, ids=answer["ids"] if heard.outcome == "ok" else None)


class Ballast(Client):
    """Large messages that come and go: they fill the log, not the state."""

    body = {"messages": [{"body": "b" * BALLAST_BYTES}]}

    def work(self):
        if self.load.ballast.is_set():
            queue = f"ballast-{self.node}"
            self.ask("ballast", "POST", f"/{queue}/messages", self.body)
            self.take("ballast", queue, 3)


class Acker(Client):
    """Acknowledges messages of its node's stock: that goes on while a disk is low."""

    def work(self):
        if self.load.acks.is_set():
            self.take("ack", f"stock-{self.node}", 1)


def set_up_queues(load, node):
    load.cluster.ask(node - 1, "PUT", f"/ballast-{node}", {"queue": {}})
    for start in range(0, STOCK, STOCK_BATCH):
        messages = [{"body": str(start + i)} for i in range(STOCK_BATCH)]
        heard, _ = load.ask(
            "stock", node, "POST", f"/stock-{node}/messages", {"messages": messages})
        if heard.outcome != "ok":
            raise clusters.Failed(f"setting up: {heard}")


def drain(load):
    """Delivers and acknowledges everything in `KEPT`, on all nodes in turn."""
    deadline, turn = time.monotonic() + harness.DRAIN_S, 0
    size = None
    while time.monotonic() < deadline:
        node = 1 + turn % 3
        turn += 1
        heard, body = load.ask("drain", node, "POST", f"/{KEPT}/reservations",
                               {"n": DRAIN_COUNT, "timeout": 3600})
        messages = [{"id": m["id"], "uid": m["body"], "reservation": m["reservation_id"],
                     "count": m["reserved_count"]} for m in (body or {}).get("messages", [])]
        fields = {"queue": KEPT, "node": node, "t_inv": heard.t_inv, "t_ok": heard.t_ok}
        load.recorder.add(op="reserve", **fields, outcome=heard.outcome, timeout_s=3600,
                          messages=messages)
        if not messages and heard.outcome == "ok":
            _, body = load.ask("drain", node, "GET", f"/{KEPT}", None)
            size = body and body["queue"]["size"]
            if size == 0:
                break
        if messages:
            acknowledge(load, node, messages)
    load.recorder.add(op="drained", t_ok=time.monotonic(), sizes={KEPT: size},
                      outcome="ok" if size == 0 else "fail")


def acknowledge(load, node, messages):
    ids = [{"id": m["id"], "reservation_id": m["reservation"]} for m in messages]
    heard, _ = load.ask("drain", node, "DELETE", f"/{KEPT}/messages", {"ids": ids})
    for message in messages:
        load.recorder.add(op="ack", queue=KEPT, node=node, t_inv=heard.t_inv, t_ok=heard.t_ok,
                          outcome=heard.outcome, id=message["id"],
                          reservation=message["reservation"])
