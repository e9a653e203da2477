"""One run: load, faults, peace, drain, judgement.

Not here: the faults. A program like `kill.py` gives a function that does one round of them.
Exit status: 0 valid, 1 violation, 2 the harness itself failed, 4 unknown. The history and the
nodes' directories stay until the next run.
"""

import argparse
import json
import pathlib
import random
import signal
import sys
import time

import check
import clients
import history as histories
from clients import DEAD, DEAD_MAX, DYING, PLAIN, clusters

DRAIN_S = 120
METRICS_S = 30


def healthy(cluster):
    """Waits for a leader and for every node to answer; returns the leader."""
    for node in cluster.info["nodes"]:
        cluster.wait_node(node["id"])
    return cluster.wait_leader(30)


def metrics(url):
    """Name (with its labels) to value of a node's metrics. Raises `Unsent` or `Unknown`."""
    base, _, path = url.rpartition("/")
    text = clusters.request(base, "GET", f"/{path}", "", timeout_s=METRICS_S).body["text"]
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples if name}


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


def set_up_queues(cluster):
    dead = {"dead_letter": {"queue_name": DEAD, "max_reservations": DEAD_MAX}}
    for queue, options in [(DEAD, {}), (DYING, dead), *((queue, {}) for queue in PLAIN)]:
        answer = cluster.ask(0, "PUT", f"/{queue}", {"queue": options})
        if answer.status != 200:
            raise clusters.Failed(f"creating {queue}: {answer}")


def run_all(cluster, recorder, options, one_round):
    """Load, faults, peace, drain. Returns the number of rounds that were run."""
    run = clients.Run(cluster, recorder, options.seed)
    recorder.add(op="config", dead={"source": DYING, "target": DEAD, "max": DEAD_MAX},
                 seed=options.seed)
    healthy(cluster)
    set_up_queues(cluster)
    writers = [clients.Writer(run, number) for number in range(3)]
    readers = [clients.Reader(run, number) for number in range(4)]
    for worker in writers + readers:
        worker.start()
    ended = time.monotonic() + options.seconds
    rounds = 0
    try:
        while rounds < options.rounds and time.monotonic() < ended:
            one_round(run, rounds)
            rounds += 1
            run.raise_harness_errors()
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
    run.raise_harness_errors()
    return rounds


def join(workers):
    for worker in workers:
        worker.join(clients.KEYED_PATIENCE_S + clients.REQUEST_S + 5)
        if worker.is_alive():
            raise clusters.Failed(f"{worker.name} does not end")


def parse(description, rounds_help):
    """The options every such program has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--rounds", type=int, default=3, help=rounds_help)
    parser.add_argument("--seconds", type=float, default=7200, help="no new round after these")
    parser.add_argument("--gap", type=float, default=1.0, help="seconds of peace before a fault")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--result", help="where the JSON result goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"    seed {options.seed}", flush=True)
    return options


def run_and_judge(options, cluster, one_round):
    """Runs everything on `cluster`, shows and saves the result, and ends the process."""
    path = pathlib.Path(options.dir).absolute().with_suffix(".history.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    recorder = histories.Recorder(path)
    began = time.monotonic()
    try:
        with cluster:
            rounds = run_all(cluster, recorder, options, one_round)
    except clusters.Failed as failure:
        print(f"    harness: {failure}\n    history: {path}", flush=True)
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
