"""The load: writers and readers that record everything they ask and hear.

A writer posts numbered messages in turn to every queue. A reader reserves and then acknowledges,
mostly; sometimes it touches, releases, acknowledges twice, or forgets and comes back too late.
Half of the posts carry an Idempotency-Key and are sent again until their outcome is known.
"""

import pathlib
import random
import sys
import threading
import time
import traceback
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
import cluster as clusters  # noqa: E402

PLAIN = ["kill-a", "kill-b"]
DYING, DEAD, DEAD_MAX = "kill-dying", "kill-dead", 3
LEASES_S = [2, 3, 5]
BACKLOG_MAX = 400
KEYED_PATIENCE_S = 30
REQUEST_S = 12


class Run:
    """What all threads of one run share."""

    def __init__(self, cluster, recorder, seed):
        self.cluster = cluster
        self.recorder = recorder
        self.seed = seed
        self.stop_writers = threading.Event()
        self.stop_readers = threading.Event()
        self.draining = threading.Event()
        self.lock = threading.Lock()
        self.backlog = 0  # posted and not yet acknowledged; written under `lock`
        self.harness_errors = []

    def raise_harness_errors(self):
        if self.harness_errors:
            raise clusters.Failed(self.harness_errors[0])

    def add_backlog(self, count):
        with self.lock:
            self.backlog += count


class Worker(threading.Thread):
    """A client: one request at a time, preferring its own node."""

    def __init__(self, run, number):
        super().__init__(name=f"{type(self).__name__}-{number}", daemon=True)
        self.shared = run
        self.number = number
        self.node = number
        self.random = random.Random(f"{run.seed}-{self.name}")

    def run(self):
        try:
            self.work()
        except Exception:  # a fault of the harness must not look like one of the cluster
            self.shared.harness_errors.append(traceback.format_exc())

    def pause(self):
        time.sleep(self.random.uniform(0.001, 0.006))

    def call(self, op, method, path, body, keyed=False):
        """One operation. Returns (fields of its history line, body of the answer or None)."""
        key = uuid.UUID(int=self.random.getrandbits(128)).hex if keyed else None
        t_inv = time.monotonic()
        outcome, answer = self.attempt(method, path, body, key)
        while keyed and outcome in ("info", "again") and time.monotonic() - t_inv < KEYED_PATIENCE_S:
            was_sent = outcome == "info"
            self.node += 1
            time.sleep(0.03)
            outcome, answer = self.attempt(method, path, body, key)
            if was_sent and outcome == "again":
                outcome = "info"
        if outcome == "again":
            self.node += 1
            outcome = "fail"
        fields = {"op": op, "node": self.node % 3, "t_inv": t_inv, "t_ok": time.monotonic(),
                  "outcome": outcome, "keyed": keyed}
        return fields, answer.body if answer and outcome == "ok" else None

    def attempt(self, method, path, body, key):
        """ok: done; fail: refused for good; again: certainly not done; info: nobody knows."""
        try:
            answer = self.shared.cluster.ask(self.node, method, path, body, key, REQUEST_S)
        except clusters.Unsent:
            return "again", None
        except clusters.Unknown:
            return "info", None
        if answer.status in (200, 201):
            return "ok", answer
        if answer.status == 503:
            return "again", answer
        if answer.status in (400, 403, 404):
            return "fail", answer
        if answer.status == 500:
            return "info", answer
        raise clusters.Failed(f"{method} {path}: {answer}")


class Writer(Worker):
    """Posts one to four numbered messages at a time, in turn to every queue."""

    def work(self):
        count = 0
        while not self.shared.stop_writers.is_set():
            if self.shared.backlog > BACKLOG_MAX:
                time.sleep(0.01)
                continue
            uids = [f"w{self.number}-{count + i}" for i in range(self.random.randint(1, 4))]
            count += len(uids)
            queue = self.random.choice([*PLAIN, DYING])
            self.post(queue, uids, keyed=self.random.random() < 0.5)
            self.pause()

    def post(self, queue, uids, keyed):
        body = {"messages": [{"body": uid} for uid in uids]}
        fields, answer = self.call("post", "POST", f"/{queue}/messages", body, keyed)
        ids = answer["ids"] if answer else None
        self.shared.recorder.add(**fields, queue=queue, uids=uids, ids=ids)
        if fields["outcome"] != "fail":
            self.shared.add_backlog(len(uids))


class Reader(Worker):
    """Reserves and then acknowledges, mostly; sometimes touches, releases or forgets."""

    def work(self):
        self.forgotten = []  # (when its lease has surely ended, queue, message)
        while not self.shared.stop_readers.is_set():
            queue = self.random.choice([*PLAIN, DYING, DYING, DEAD])
            for message in self.reserve(queue):
                self.handle(queue, message)
            self.late_ack()
            self.pause()

    def reserve(self, queue):
        timeout_s = self.random.choice(LEASES_S)
        body = {"n": self.random.randint(1, 6), "timeout": timeout_s}
        if self.random.random() < 0.1:
            body["wait"] = 1
        fields, answer = self.call("reserve", "POST", f"/{queue}/reservations", body)
        messages = [
            {"id": m["id"], "uid": m["body"], "reservation": m["reservation_id"],
             "count": m["reserved_count"], "timeout_s": timeout_s}
            for m in (answer["messages"] if answer else [])
        ]
        self.shared.recorder.add(**fields, queue=queue, timeout_s=timeout_s, messages=messages)
        return messages

    def handle(self, queue, message):
        chance = self.random.random()
        if self.shared.draining.is_set() or queue == DEAD:
            self.ack(queue, message, keyed=True)
        elif queue == DYING and chance < 0.6:
            # Never touched, so a dead letter has exactly DEAD_MAX reservations.
            self.release(queue, message) if chance < 0.4 else self.forget(queue, message)
        elif queue != DYING and chance < 0.05:
            self.touch(queue, message)
            self.ack(queue, message)
        elif chance < 0.10:
            self.release(queue, message)
        elif chance < 0.15:
            self.forget(queue, message)
        elif chance < 0.20:
            self.ack(queue, message)
            self.ack(queue, message)
        else:
            self.ack(queue, message, keyed=chance < 0.6)

    def ack(self, queue, message, keyed=False):
        body = {"reservation_id": message["reservation"]}
        fields, _ = self.call("ack", "DELETE", f"/{queue}/messages/{message['id']}", body, keyed)
        self.shared.recorder.add(
            **fields, queue=queue, id=message["id"], reservation=message["reservation"])
        if fields["outcome"] == "ok":
            self.shared.add_backlog(-1)

    def release(self, queue, message):
        body = {"reservation_id": message["reservation"]}
        path = f"/{queue}/messages/{message['id']}/release"
        fields, _ = self.call("release", "POST", path, body)
        self.shared.recorder.add(
            **fields, queue=queue, id=message["id"], reservation=message["reservation"])

    def touch(self, queue, message):
        timeout_s = self.random.choice(LEASES_S)
        body = {"reservation_id": message["reservation"], "timeout": timeout_s}
        path = f"/{queue}/messages/{message['id']}/touch"
        fields, answer = self.call("touch", "POST", path, body)
        self.shared.recorder.add(
            **fields, queue=queue, id=message["id"], reservation=message["reservation"],
            timeout_s=timeout_s, new=answer["reservation_id"] if answer else None)

    def forget(self, queue, message):
        """Lets the lease lapse; half of the time comes back too late with an ack."""
        if self.random.random() < 0.5:
            due = time.monotonic() + message["timeout_s"] + 1.5
            self.forgotten.append((due, queue, message))

    def late_ack(self):
        if self.forgotten and self.forgotten[0][0] < time.monotonic():
            _, queue, message = self.forgotten.pop(0)
            self.ack(queue, message)
