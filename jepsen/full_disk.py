"""Fills disks under load, takes majorities away, and has everything that was seen judged.

Each node's directory is a small ext4 file system of its own. Phase after phase the disk of a
follower, of the leader, of a majority, of all is filled: below the low-water mark, or until
nothing fits any more (ENOSPC). Then a majority is stopped, and one is killed. Clients go on in
every phase. When the cause is gone, every node must take posts again by itself. At the end the
queue is drained: what was acknowledged is there once, in order, and what was refused is not.

Needs root, loop devices and mkfs.ext4; ends with status 5 where it cannot inject the fault.
Otherwise 0 valid, 1 violation, 2 the harness itself failed, 4 a fault did not show. The nodes'
logs stay in DIR, the history beside it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import sys
import time

import check
import filling
import harness
import history as histories
import node_clients
import power
import refusals
from clients import clusters
from refusals import Phase, Span

LOW_WATER_BYTES = 96 << 20
# Above zero by so much that nothing runs out while the disk is only low.
LEFT_WHEN_LOW_BYTES = 56 << 20
CONFIGURATION = {
    **power.SMALL_LOG,
    "BESSEMER_DISK_LOW_WATER_BYTES": str(LOW_WATER_BYTES),
    "BESSEMER_MEMTABLE_BYTES": str(8 << 20),
}
CALM_S, LOW_S, FULL_S, LOST_S = 2, 6, 14, 11
CHECKS = [check.no_loss, check.ack_once, check.no_ghost, check.order, check.same_state]

PHASES = [
    Phase("low", "follower", LOW_S),
    Phase("low", "leader", LOW_S),
    Phase("low", "majority", LOW_S),
    Phase("full", "follower", FULL_S),
    Phase("full", "leader", FULL_S),
    Phase("full", "majority", FULL_S),
    Phase("stopped", "followers", LOST_S),
    Phase("killed", "leader and follower", LOST_S),
    # Last: nothing but posts, which are refused, tells the nodes of new room.
    Phase("low", "all", LOW_S),
]


def choose(leader, others, victims):
    """Ids of the nodes that `victims` names."""
    return {
        "follower": others[:1],
        "leader": [leader],
        "majority": [leader, others[0]],
        "followers": others,
        "leader and follower": [leader, others[0]],
        "all": [leader, *others],
    }[victims]


# ---- faults -------------------------------------------------------------------------------


@contextlib.contextmanager
def fault(load, disks, phase, victims):
    """The fault is there inside, and its cause is gone outside."""
    if phase.fills:
        left_bytes = LEFT_WHEN_LOW_BYTES if phase.kind == "low" else 0
        with filling.Filler([disks[node] for node in victims], left_bytes):
            yield
        return
    pids = [load.cluster.node(node)["pid"] for node in victims]
    load.silent.update(victims)
    supervisor = load.cluster.supervisor.pid
    held = pids if phase.kind == "stopped" else [supervisor]  # which then restarts nobody
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        if phase.kind == "killed":
            for node in victims:
                load.cluster.kill(node)
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
        load.silent.clear()


def run_phase(load, disks, phase):
    cluster = load.cluster
    leader = cluster.wait_leader(30)
    others = [node["id"] for node in cluster.info["nodes"] if node["id"] != leader]
    victims = choose(leader, others, phase.victims)
    ends_before = process_ends(cluster)
    load.acks.set() if phase.victims != "all" else load.acks.clear()
    began = time.monotonic()
    time.sleep(CALM_S)
    with fault(load, disks, phase, victims):
        faulted = time.monotonic()
        load.ballast.set() if phase.kind == "full" else load.ballast.clear()
        time.sleep(phase.seconds)
    removed = time.monotonic()
    load.ballast.clear()
    healed_s = wait_healed(load, removed)
    span = Span(phase, victims, began, faulted, removed, time.monotonic(), healed_s,
                process_ends(cluster) - ends_before)
    print(f"    {phase.name} (nodes {victims}, leader {leader}): healed {healed_s}", flush=True)
    if load.harness_errors:
        raise clusters.Failed(load.harness_errors[0])
    return span


def wait_healed(load, removed):
    """Seconds until each node took a post again; None for one over HEAL_S."""
    nodes = [node["id"] for node in load.cluster.info["nodes"]]

    def served():
        return all(load.served_since(node, removed) for node in nodes)

    with contextlib.suppress(clusters.Failed):
        clusters.wait_until("all nodes serve", refusals.HEAL_S, served)
    times = {node: load.served_since(node, removed) for node in nodes}
    return {node: t_ok and round(t_ok - removed, 2) for node, t_ok in times.items()}


def process_ends(cluster):
    """How often a node's process has ended, says the supervisor."""
    text = (cluster.directory / "supervisor.log").read_text(errors="replace")
    return text.count("node ended")


def judge(spans, answers, lines):
    """The verdict on everything."""
    violations, not_shown, phases = [], [], {}
    for span in spans:
        broken, vacuous, figures = refusals.judge_span(span, answers)
        violations += broken
        not_shown += [f"{span.phase.name}: nothing was refused"] if vacuous else []
        phases[span.phase.name] = figures
    history, checks = histories.History(lines), {}
    for one in CHECKS:
        found, opportunities = one(history)
        checks[one.__name__] = {"violations": len(found), "opportunities": opportunities}
        violations += [f"{one.__name__}: {text}" for text in found[:check.VIOLATIONS_SHOWN]]
    violations += [f"not drained: {line['sizes']}" for line in history.of("drained")
                   if line["outcome"] != "ok"]
    return {
        "verdict": "violation" if violations else "unknown" if not_shown else "valid",
        "violations": violations,
        "not_shown": not_shown,
        "posts": len(history.posts),
        "posts_of_unknown_outcome": sum(p["outcome"] == "info" for p in history.posts),
        "checks": checks,
        "phases": phases,
    }


def show(result):
    for name, figures in result["phases"].items():
        print(f"    {name}: {figures}")
    for name, figures in result["checks"].items():
        print(f"    {name}: {figures}")
    for text in result["not_shown"]:
        print(f"    unknown: {text}")
    for text in result["violations"]:
        print(f"    VIOLATED {text}")
    print(f"    {result['posts']} posts in {result['seconds']} s; verdict: {result['verdict']}",
          flush=True)


# ---- the run ------------------------------------------------------------------------------


def run_all(cluster, recorder, disks):
    load = node_clients.Load(cluster, recorder)
    harness.healthy(cluster)
    nodes = [node["id"] for node in cluster.info["nodes"]]
    for node in nodes:
        node_clients.set_up_queues(load, node)
    kinds = [node_clients.Writer, node_clients.Ballast, node_clients.Ballast, node_clients.Acker]
    clients = [kind(load, node) for kind in kinds for node in nodes]
    for client in clients:
        client.start()
    spans = []
    try:
        for phase in PHASES:
            spans.append(run_phase(load, disks, phase))
            if None in spans[-1].healed_s.values():
                break  # what follows would be judged by what is still broken
    finally:
        load.stopping.set()
        for client in clients:
            client.join(node_clients.REQUEST_S + 5)
    node_clients.drain(load)
    harness.same_index(load)
    return spans, load.answers


def run(options):
    cluster = clusters.Cluster(options.binary, options.dir)
    directory = cluster.directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    disks = {
        node: filling.SmallDisk(directory.with_name(f"{directory.name}-disk-{node}"),
                                directory / f"node-{node}")
        for node in (1, 2, 3)
    }
    for disk in disks.values():
        disk.try_unmount()  # what a run that was ended in its middle may have left
    cluster.remove()
    cluster.extra_environment = CONFIGURATION
    path = directory.with_suffix(".history.jsonl")
    recorder = histories.Recorder(path)
    try:
        for node, disk in disks.items():
            disk.make()
            # Beside the disk: what a node says when its disk is full is not lost.
            (disk.mount_point / "log").symlink_to(directory / f"node-{node}.log")
        (directory / ".made-for-a-cluster").touch()
        with cluster:
            spans, answers = run_all(cluster, recorder, disks)
    finally:
        for disk in disks.values():
            disk.remove()
        recorder.close()
    return judge(spans, answers, histories.load(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--result", required=True, help="where the JSON result goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not power.can_inject():
        print("    not injected: needs root, mkfs.ext4 and loop devices")
        sys.exit(power.CANNOT_INJECT)
    began = time.monotonic()
    try:
        result = run(options)
    except clusters.Failed as failure:
        print(f"    harness: {failure}", flush=True)
        sys.exit(2)
    result["seconds"] = round(time.monotonic() - began, 1)
    show(result)
    pathlib.Path(options.result).write_text(json.dumps(result, indent=1) + "\n")
    sys.exit({"valid": 0, "violation": 1, "unknown": 4}[result["verdict"]])


if __name__ == "__main__":
    main()
