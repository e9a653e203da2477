"""Brings nodes back that were down, while clients go on writing, and measures what that costs.

A cluster is filled with `--state-mb` of messages that no compression makes smaller. Then
(a) a follower is killed, misses a little, and must come back by log;
(b) a follower is killed, misses more than the leader keeps of its log, and must come back by
    snapshot, and need no second one: how fast, at what growth of memory in sender and receiver,
    at what delay for clients;
(c) after each return, hash chains at one index are equal on all nodes;
(d) a follower loses its disk: under its old id it must be refused, and it returns by
    `bessemer cluster replace`, which is a second snapshot, into an empty node.
At the end everything acknowledged is looked for through the node that came last.

Exit status: 0 valid, 1 a check failed, 2 the harness itself failed. Latencies and speeds are only
reported; so is memory with `--small`, where 64 MiB would say nothing. The result and the nodes'
directories stay until the next run.
"""

import argparse
import json
import pathlib
import random
import signal
import sys
import time

import clients
import posting
import returns
from catchup_run import FILL, LIVE, Run, Violated
from clients import clusters
from lost_disk import lost_disk
from memory import MIB

# Missed in (a), together with what is written live meanwhile: less than the 32 MiB of log that a
# leader keeps in any case.
MISSED_BYTES = 8 * MIB
STATE_MB, STATE_MB_SMALL = 2048, 64
FILL_S, MISSED_S = 1200, 60
# The least that a node accepts, so that little must be written before the log is cut.
SMALL_LOG = {"BESSEMER_LOG_SEGMENT_BYTES": str(16 * MIB), "BESSEMER_LOG_BYTES_MAX": str(32 * MIB)}


def fill_state(run):
    goal = run.options.state_mb * MIB
    run.figures["filled"] = run.fill(
        "the state is filled", FILL_S, lambda: run.posted_bytes() >= goal)


def return_by_log(run):
    """(a)"""
    node = run.follower(0)
    with run.live():
        time.sleep(returns.BASELINE_S)
        killed = time.monotonic()
        matched = run.kill(node)
        goal = run.posted_bytes() + MISSED_BYTES
        run.fill("(a) writes go on without it", MISSED_S, lambda: run.posted_bytes() >= goal)
        began = time.monotonic()
        follow = returns.CatchUp(run, node)
        run.revive(node)
        done = follow.wait(run.options.patience)
        returns.report_latency(run, "a", (killed - returns.BASELINE_S, killed),
                               (began, time.monotonic()))
    run.figure("(a) by log", follow.figures())
    run.must("(a) the node catches up", done, follow.said())
    run.check("(a) it comes back by log", not follow.offered and not follow.installs(),
              f"it had {matched}, the leader's log began after {run.purged(run.leader()):.0f}")
    returns.settle(run, "a", run.urls())


def return_by_snapshot(run):
    """(b)"""
    node = run.follower(1)
    matched = run.kill(node)

    def purged():
        leader = run.cluster.leader()
        return leader and run.purged(leader) > matched

    run.fill("(b) the leader cuts its log though the node is behind", run.options.patience, purged)
    with run.live():
        time.sleep(returns.BASELINE_S)
        sender, began = run.leader(), time.monotonic()
        run.forget_peaks()
        follow = returns.CatchUp(run, node)
        run.revive(node)
        done = follow.wait(run.options.patience)
        returns.report_transfer(run, "b", follow, sender, began)
    run.must("(b) the node catches up", done, follow.said())
    returns.settle(run, "b", run.urls())
    returns.check_one_snapshot(run, "b", follow)


def look_for_all(run):
    """(c), the messages, through the node that came last."""
    unknown = sum(not post.known for post in run.posts)
    run.check(f"(c) every post had its outcome within {clients.KEYED_PATIENCE_S} s", not unknown,
              f"{len(run.posts)} posts, {unknown} unknown")
    finder = posting.Finder(run, run.added.http)
    for shape in (FILL, LIVE):
        finder.count(shape.queue)
    finder.spot_check()
    for shape in (FILL, LIVE):
        finder.drain(shape.queue)


STEPS = [fill_state, return_by_log, return_by_snapshot, lost_disk, look_for_all]


# ---- the program ------------------------------------------------------------------------------


def run_on(run):
    """Runs everything; "valid" or "violation"."""
    run.sampler.start()
    try:
        for step in STEPS:
            began = time.monotonic()
            print(f"    -- {step.__name__}", flush=True)
            step(run)
            run.raise_harness_errors()
            print(f"    -- {step.__name__}: {time.monotonic() - began:.0f} s", flush=True)
    except Violated:
        pass  # noted where it was found
    finally:
        run.sampler.stop()
        if run.added:
            run.check("the added node ends by itself on SIGTERM", run.added.stop() == 0)
    return "valid" if all(check["ok"] for check in run.checks) else "violation"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--state-mb", type=int,
                        help=f"{STATE_MB}, or {STATE_MB_SMALL} with --small")
    parser.add_argument("--small", action="store_true", help="small logs; memory is not judged")
    parser.add_argument("--patience", type=float, default=300, help="seconds for one return")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--result", help="where the JSON result goes")
    options = parser.parse_args()
    options.state_mb = options.state_mb or (STATE_MB_SMALL if options.small else STATE_MB)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"    seed {options.seed}", flush=True)
    return options


def main():
    options = parse()
    began = time.monotonic()
    cluster = clusters.Cluster(options.binary, options.dir, fresh=True, restart=False)
    if options.small:
        cluster.extra_environment = SMALL_LOG
    try:
        with cluster:
            run = Run(cluster, options)
            verdict = run_on(run)
    except clusters.Failed as failure:
        print(f"    harness: {failure}", flush=True)
        sys.exit(2)
    result = {"verdict": verdict, "state_mb": options.state_mb, "seed": options.seed,
              "seconds": round(time.monotonic() - began, 1), "checks": run.checks,
              "figures": run.figures}
    if options.result:
        pathlib.Path(options.result).write_text(json.dumps(result, indent=1) + "\n")
    print(f"    verdict: {verdict} after {result['seconds']} s", flush=True)
    sys.exit(0 if verdict == "valid" else 1)


if __name__ == "__main__":
    main()
