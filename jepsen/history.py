"""The history of a run: one JSON object a line, in the order of completion.

All clients and nodes share one host, so CLOCK_MONOTONIC orders every event and the checks need
no terms for clock errors. Fields of an operation:

  op        post | reserve | ack | touch | release
  queue     its queue; node: index of the node that was asked last
  t_inv     when it was first sent; t_ok when its outcome was known (seconds)
  outcome   ok: it happened; fail: it certainly did not; info: nobody knows
  post      uids in order, ids in the same order (when ok), keyed: sent again until known
  reserve   timeout_s, messages: [{id, uid, reservation, count}] in the order of the answer
  ack, release, touch    id, reservation; touch also timeout_s

Other lines: `config` (what the queues are), `kill` (kind, nodes, t_inv, t_ok), `drained`
(outcome, sizes) and `chain` (node, applied, chain: the hash over all applied entries).
"""

import json
import threading


class Recorder:
    """Writes a history from many threads."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()

    def add(self, **fields):
        line = json.dumps(fields, separators=(",", ":"))
        with self.lock:
            self.file.write(line + "\n")

    def close(self):
        with self.lock:
            self.file.close()


def load(path):
    """All lines of a history. A torn last line (the writer was killed) is left out."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
    return found


class History:
    """A history sorted by what the checks ask for."""

    def __init__(self, lines):
        self.lines = lines
        self.posts = self.of("post")
        self.reserves = self.of("reserve")
        self.acks = self.of("ack")
        self.touches = self.of("touch")
        self.releases = self.of("release")
        self.kills = self.of("kill")
        config = self.of("config")
        self.config = config[0] if config else {}
        self.deliveries = [
            Delivery(reserve, message)
            for reserve in self.reserves
            if reserve["outcome"] == "ok"
            for message in reserve["messages"]
        ]

    def of(self, op):
        return [line for line in self.lines if line["op"] == op]

    def client_ops(self):
        return self.posts + self.reserves + self.acks + self.touches + self.releases

    def deliveries_by_message(self):
        """Message id to its deliveries, by reserved count (the order in the log), then time."""
        found = {}
        for delivery in self.deliveries:
            found.setdefault(delivery.id, []).append(delivery)
        for deliveries in found.values():
            deliveries.sort(key=lambda delivery: (delivery.count, delivery.t_ok))
        return found


class Delivery:
    """One message in the answer of one reserve."""

    def __init__(self, reserve, message):
        self.queue = reserve["queue"]
        self.t_inv = reserve["t_inv"]
        self.t_ok = reserve["t_ok"]
        self.timeout_s = reserve["timeout_s"]
        self.id = message["id"]
        self.uid = message["uid"]
        self.reservation = message["reservation"]
        self.count = message["count"]
