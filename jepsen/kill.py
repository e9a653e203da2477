"""Kills real processes under load and has the history judged.

Writers and readers work through all three nodes. Round after round the leader, a follower, then
all nodes get `kill -9`; the supervisor starts them again. Then faults stop, the queues are
drained, and `check.py` judges everything that was seen. Proof of a kill is the kernel's: the
process is gone.

Exit status: 0 valid, 1 violation, 2 the harness itself failed, 4 unknown. The history and the
nodes' directories stay in DIR until the next run.
"""

import argparse
import json
import pathlib
import random
import signal
import sys
import threading
import time
import traceback
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
import check  # noqa: E402
import cluster as clusters  # noqa: E402
import history as histories  # noqa: E402

PLAIN = ["kill-a", "kill-b"]
DYING, DEAD, DEAD_MAX = "kill-dying", "kill-dead", 3
LEASES_S = [2, 3, 5]
BACKLOG_MAX = 400
KEYED_PATIENCE_S = 30
REQUEST_S = 12
DRAIN_S = 120


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


# ---- faults -----------------------------------------------------------------------------------


def healthy(cluster):
    """Waits for a leader and for every node to answer; returns the leader."""
    for node in cluster.info["nodes"]:
        cluster.wait_node(node["id"])
    return cluster.wait_leader(30)


def kill_nodes(cluster, recorder, kind, node_ids):
    """kill -9 of `node_ids`, as close together as can be."""
    t_inv = time.monotonic()
    before = {node_id: cluster.node(node_id)["pid"] for node_id in node_ids}
    killed = [pid for pid in map(cluster.kill, node_ids) if pid is not None]
    if len(killed) != len(node_ids):
        raise clusters.Failed(f"of {before} only {killed} could be killed")
    recorder.add(op="kill", kind=kind, nodes=node_ids, pids=killed, t_inv=t_inv,
                 t_ok=time.monotonic())


def one_round(run, number, gap_s):
    """The leader, then a follower, then all."""
    for kind in ("leader", "follower", "all"):
        leader = healthy(run.cluster)
        record_chains(run.cluster, run.recorder)
        time.sleep(gap_s)
        leader = run.cluster.wait_leader(30)
        others = [n["id"] for n in run.cluster.info["nodes"] if n["id"] != leader]
        victims = {"leader": [leader], "follower": [others[number % len(others)]],
                   "all": [leader, *others]}[kind]
        kill_nodes(run.cluster, run.recorder, kind, victims)
        if run.harness_errors:
            raise clusters.Failed(run.harness_errors[0])


def record_chains(cluster, recorder):
    """Notes each node's applied index and hash chain; returns the indexes."""
    applied = []
    for index, node in enumerate(cluster.info["nodes"]):
        status = cluster.status(index)
        if status:
            recorder.add(op="chain", node=node["id"], applied=status["applied"],
                         chain=status["chain"])
            applied.append(status["applied"])
    return applied


def drain(run):
    """Everything is acknowledged until all queues are empty; notes what is left if not."""
    run.draining.set()
    deadline = time.monotonic() + DRAIN_S
    while True:
        sizes = {}
        for index, queue in enumerate([*PLAIN, DYING, DEAD]):
            try:
                answer = run.cluster.ask(index, "GET", f"/{queue}")
                sizes[queue] = answer.body["queue"]["size"] if answer.status == 200 else None
            except (clusters.Unsent, clusters.Unknown):
                sizes[queue] = None
        late = time.monotonic() > deadline
        if late or not any(size != 0 for size in sizes.values()):
            run.recorder.add(op="drained", t_ok=time.monotonic(), sizes=sizes,
                             outcome="fail" if late else "ok")
            return not late
        time.sleep(0.3)


def same_index(run):
    """Waits until all nodes have applied the same index, and notes their chains."""

    def check_once():
        applied = record_chains(run.cluster, run.recorder)
        return len(applied) == len(run.cluster.info["nodes"]) and len(set(applied)) == 1

    try:
        clusters.wait_until("all nodes at one index", 30, check_once, 0.2)
    except clusters.Failed as failure:
        print(f"    {failure}", flush=True)


# ---- the run ----------------------------------------------------------------------------------


def set_up_queues(cluster):
    dead = {"dead_letter": {"queue_name": DEAD, "max_reservations": DEAD_MAX}}
    for queue, options in [(DEAD, {}), (DYING, dead), *((queue, {}) for queue in PLAIN)]:
        answer = cluster.ask(0, "PUT", f"/{queue}", {"queue": options})
        if answer.status != 200:
            raise clusters.Failed(f"creating {queue}: {answer}")


def run_all(cluster, recorder, options):
    """Load, faults, heal, drain. Returns the number of rounds that were run."""
    run = Run(cluster, recorder, options.seed)
    recorder.add(op="config", dead={"source": DYING, "target": DEAD, "max": DEAD_MAX},
                 seed=options.seed)
    set_up_queues(cluster)
    writers = [Writer(run, number) for number in range(3)]
    readers = [Reader(run, number) for number in range(4)]
    for worker in writers + readers:
        worker.start()
    ended = time.monotonic() + options.seconds
    rounds = 0
    try:
        while rounds < options.rounds and time.monotonic() < ended:
            one_round(run, rounds, options.gap)
            rounds += 1
            if rounds % 10 == 0:
                print(f"    round {rounds} of {options.rounds}", flush=True)
        healthy(cluster)
        time.sleep(1)
        run.stop_writers.set()
        join(writers)
        drain(run)
    finally:
        run.stop_writers.set()
        run.stop_readers.set()
    join(readers)
    same_index(run)
    if run.harness_errors:
        raise clusters.Failed(run.harness_errors[0])
    return rounds


def join(workers):
    for worker in workers:
        worker.join(KEYED_PATIENCE_S + REQUEST_S + 5)
        if worker.is_alive():
            raise clusters.Failed(f"{worker.name} does not end")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--rounds", type=int, default=3, help="each: leader, follower, all")
    parser.add_argument("--seconds", type=float, default=7200, help="no new round after these")
    parser.add_argument("--gap", type=float, default=1.0, help="seconds of peace before a kill")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--result", help="where the JSON result goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"    seed {options.seed}", flush=True)
    path = pathlib.Path(options.dir).absolute().with_suffix(".history.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    recorder = histories.Recorder(path)
    began = time.monotonic()
    try:
        with clusters.Cluster(options.binary, options.dir, fresh=True) as cluster:
            rounds = run_all(cluster, recorder, options)
    except clusters.Failed as failure:
        print(f"    harness: {failure}", flush=True)
        sys.exit(2)
    finally:
        recorder.close()
    result = check.judge(histories.load(path))
    result["rounds"] = rounds
    result["seed"] = options.seed
    result["seconds"] = round(time.monotonic() - began, 1)
    check.show(result)
    print(f"    history: {path}")
    if options.result:
        pathlib.Path(options.result).write_text(json.dumps(result, indent=1) + "\n")
    sys.exit({"valid": 0, "violation": 1, "unknown": 4}[result["verdict"]])


if __name__ == "__main__":
    main()
