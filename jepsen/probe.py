"""Other clients: a few on each node that post, reserve and delete on queues of their own.

Runs as a process of its own beside a load, so that the load's client does not slow the
measurement down. Every step is one line of a file: verb, node, when it was sent and served
(CLOCK_MONOTONIC, the same in all processes), and how often it was refused on the way. Ends on
SIGTERM. A message that was posted and is not there is noted as `fault`.
"""

import argparse
import pathlib
import signal
import subprocess
import sys
import threading
import time

import check
import history as histories
from clients import clusters

CLIENTS_PER_NODE = 2
PAUSE_S = 0.05
AGAIN_S = 0.01
REQUEST_S = 10
STOP_S = 15


class Prober(threading.Thread):
    """One client of one node, with its own queue."""

    def __init__(self, cluster, recorder, stopping, number):
        super().__init__(name=f"prober-{number}", daemon=True)
        self.cluster = cluster
        self.recorder = recorder
        self.stopping = stopping
        self.node = number % len(cluster.urls)
        self.path = f"/probe-{number}"
        self.unknown = False  # one of its requests may have happened twice

    def run(self):
        while not self.stopping.is_set():
            self.cycle()
            time.sleep(PAUSE_S)

    def cycle(self):
        if self.timed("post", "POST", "/messages", {"messages": [{"body": "probe"}]}) is None:
            return
        reserved = self.timed("reserve", "POST", "/reservations", {"n": 10, "timeout": 3600})
        if reserved is None:
            return
        if not reserved["messages"] and not self.unknown:
            self.recorder.add(op="fault", node=self.node, text=f"{self.path}: a post is not there")
        for message in reserved["messages"]:
            body = {"reservation_id": message["reservation_id"]}
            self.timed("delete", "DELETE", f"/messages/{message['id']}", body)

    def timed(self, verb, method, path, body):
        """Asks until served, however often it is refused; None when told to stop."""
        t_inv, refused = time.monotonic(), 0
        while not self.stopping.is_set():
            try:
                answer = self.cluster.ask(
                    self.node, method, self.path + path, body, timeout_s=REQUEST_S)
            except clusters.Unsent:
                answer = None
            except clusters.Unknown:
                answer, self.unknown = None, True
            if answer and self.is_served(verb, answer.status):
                self.recorder.add(op="probe", verb=verb, node=self.node, t_inv=t_inv,
                                  t_ok=time.monotonic(), refused=refused)
                return answer.body
            refused += 1
            time.sleep(AGAIN_S)
        if refused:  # never served: counts until now
            self.recorder.add(op="probe", verb=verb, node=self.node, t_inv=t_inv,
                              t_ok=time.monotonic(), refused=refused)
        return None

    def is_served(self, verb, status):
        self.unknown = self.unknown or status == 500
        return status in (200, 201) or (verb == "delete" and status == 404 and self.unknown)


class Probe:
    """The process, from the side of the program that starts it."""

    def __init__(self, directory, path):
        self.path = pathlib.Path(path)
        command = [sys.executable, __file__, "--dir", str(directory), "--out", str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, preexec_fn=clusters.die_with_parent)

    def stop(self):
        """Ends it; returns all that it noted."""
        self.process.terminate()
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise clusters.Failed("the probe does not end") from None
        if status != 0:
            raise clusters.Failed(f"the probe ended with {status}")
        return histories.load(self.path)


def figures(lines, began, ended):
    """Latency in milliseconds of the probes that were sent in a span of time."""
    steps = [line for line in lines if line["op"] == "probe" and began <= line["t_inv"] <= ended]
    found = {"requests": len(steps), "refused": sum(step["refused"] for step in steps)}
    return found | milliseconds([step["t_ok"] - step["t_inv"] for step in steps])


def milliseconds(spans_s):
    """p50, p99 and maximum of latencies in seconds; nothing of none."""
    if not spans_s:
        return {}
    return {
        "p50_ms": round(1000 * check.percentile(spans_s, 50), 1),
        "p99_ms": round(1000 * check.percentile(spans_s, 99), 1),
        "max_ms": round(1000 * max(spans_s), 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dir", required=True, help="of a cluster that runs")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    cluster = clusters.Cluster("bessemer", options.dir)
    cluster.reload()
    recorder = histories.Recorder(options.out)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    probers = [Prober(cluster, recorder, stopping, number)
               for number in range(CLIENTS_PER_NODE * len(cluster.urls))]
    for prober in probers:
        prober.start()
    stopping.wait()
    for prober in probers:
        prober.join(REQUEST_S + 2)
    recorder.close()


if __name__ == "__main__":
    main()
