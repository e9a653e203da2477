"""Kills real processes under load and has the history judged.

Writers and readers work through all three nodes. Round after round the leader, a follower, then
all nodes get `kill -9`; the supervisor starts them again. Then faults stop, the queues are
drained, and `check.py` judges everything that was seen. Proof of a kill is the kernel's: the
process is gone.
"""

import time

import harness
from clients import clusters


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
        harness.healthy(run.cluster)
        harness.record_chains(run.cluster, run.recorder)
        time.sleep(gap_s)
        victims = choose(run.cluster, kind, number)
        kill_nodes(run.cluster, run.recorder, kind, victims)
        run.raise_harness_errors()


def choose(cluster, kind, number):
    """Ids of the nodes that `kind` names now."""
    leader = cluster.wait_leader(30)
    others = [node["id"] for node in cluster.info["nodes"] if node["id"] != leader]
    return {
        "leader": [leader],
        "follower": [others[number % len(others)]],
        "all": [leader, *others],
    }[kind]


def main():
    options = harness.parse(__doc__.split("\n")[0], "each: leader, follower, all")
    cluster = clusters.Cluster(options.binary, options.dir, fresh=True)
    harness.run_and_judge(
        options, cluster, lambda run, number: one_round(run, number, options.gap)
    )


if __name__ == "__main__":
    main()
