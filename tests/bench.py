"""First figures: `bessemer bench queue` over three nodes, and elections that nothing called for.

Runs each load of LOADS in turn on a fresh cluster. The term is read before and after: under load
and without faults it must not grow, so every step is a false election.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import cluster as clusters

# (clients, messages per request, body bytes, queues)
LOADS = [(1, 1, 1024, 1), (64, 1, 1024, 16), (64, 10, 1024, 16), (64, 1, 1024, 1)]


def bench(options, cluster, load):
    clients, batch, size, queues = load
    command = [options.binary, "bench", "queue", "--json", "--token", cluster.info["token"]]
    command += ["--project", cluster.info["project_id"]]
    for url in cluster.urls:
        command += ["--url", url]
    command += ["--clients", clients, "--batch", batch, "--size", size, "--queues", queues]
    command += ["--secs", options.secs]
    command = [str(word) for word in command]
    done = subprocess.run(
        command, env=clusters.own_environment(), capture_output=True, text=True,
        timeout=options.secs + 90,
    )
    if done.returncode != 0:
        raise clusters.Failed(f"{' '.join(command)}: {done.stderr[-800:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def term(cluster):
    return max(status["term"] for status in map(cluster.status, range(3)) if status)


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    return {"cores": os.cpu_count(), "processor": model, "kernel": platform.release()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--secs", type=int, default=30)
    parser.add_argument("--result", required=True)
    options = parser.parse_args()
    results, elections, load_s = [], 0, 0.0
    try:
        with clusters.Cluster(options.binary, options.dir, fresh=True) as cluster:
            cluster.wait_leader()
            for load in LOADS:
                before, began = term(cluster), time.monotonic()
                result = bench(options, cluster, load)
                load_s += time.monotonic() - began
                elections += term(cluster) - before
                names = ("clients", "batch", "size", "queues")
                results.append({"load": dict(zip(names, load)), "result": result})
                print(f"    {results[-1]}", flush=True)
    except clusters.Failed as failure:
        sys.exit(f"bench failed: {failure}")
    figures = {
        "machine": machine(),
        "nodes": 3,
        "loads": results,
        "false_elections": elections,
        "load_seconds": round(load_s, 1),
    }
    pathlib.Path(options.result).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
