"""The main job of the queue on three real nodes, with the leader killed in its middle.

Posts numbered messages one after the other, reserves and acknowledges them, each request on the
next node in turn. Half way the leader gets `kill -9`. Then everything is counted: every message
posted once, delivered once, in order, acknowledged once, and the queue is empty.

A request whose outcome is unknown is sent again under the same Idempotency-Key: the cluster
answers with the outcome of the first time, so nothing is doubled.
"""

import argparse
import shlex
import signal
import sys
import time
import uuid

import cluster as clusters

MESSAGES = 300
BATCH = 5
QUEUE = "main-job"
REQUEST_PATIENCE_S = 30


class Job:
    """One run: what was posted, delivered and acknowledged, in order."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.turn = 0
        self.again = 0
        self.posted = []
        self.delivered = []
        self.acknowledged = []
        self.killed_at = None
        self.first_success_s = None

    def ask(self, method, path, body, expected):
        """Asks the next node in turn until the outcome is known; counts what was sent again."""
        key = uuid.uuid4().hex
        deadline = time.monotonic() + REQUEST_PATIENCE_S
        while True:
            self.turn += 1
            try:
                answer = self.cluster.ask(self.turn, method, path, body, key, timeout_s=5.0)
                if answer.status == expected:
                    self.note_success()
                    return answer.body
                problem = f"{method} {path}: {answer}"
                if answer.status not in (500, 503):
                    raise clusters.Failed(problem)
            except (clusters.Unsent, clusters.Unknown) as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise clusters.Failed(f"no outcome within {REQUEST_PATIENCE_S} s: {problem}")
            self.again += 1
            time.sleep(0.02)

    def note_success(self):
        if self.killed_at is not None and self.first_success_s is None:
            self.first_success_s = time.monotonic() - self.killed_at

    def post(self, number):
        body = {"messages": [{"body": f"message {number}"}]}
        answer = self.ask("POST", f"/{QUEUE}/messages", body, 201)
        self.posted.extend(answer["ids"])

    def reserve_and_acknowledge(self):
        reserved = self.ask("POST", f"/{QUEUE}/reservations", {"n": BATCH, "timeout": 60}, 200)
        for message in reserved["messages"]:
            self.delivered.append(message["body"])
            path = f"/{QUEUE}/messages/{message['id']}"
            self.ask("DELETE", path, {"reservation_id": message["reservation_id"]}, 200)
            self.acknowledged.append(message["id"])
        return len(reserved["messages"])

    def kill_leader(self):
        leader = self.cluster.wait_leader()
        pid = self.cluster.kill(leader)
        self.killed_at = time.monotonic()
        print(f"    kill -9 of node {leader}, the leader (pid {pid})", flush=True)
        return leader

    def run(self):
        self.cluster.ask(0, "DELETE", f"/{QUEUE}")  # what an earlier run may have left
        killed = None
        for number in range(MESSAGES):
            if number == MESSAGES // 2:
                killed = self.kill_leader()
            self.post(number)
            if number % BATCH == BATCH - 1:
                self.reserve_and_acknowledge()
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < MESSAGES and time.monotonic() < deadline:
            if self.reserve_and_acknowledge() == 0:
                break
        self.cluster.wait_node(killed)
        return self.check()

    def check(self):
        """Prints every count with what it must be. True when all are right."""
        info = self.ask("GET", f"/{QUEUE}", None, 200)["queue"]
        in_order = self.delivered == [f"message {number}" for number in range(MESSAGES)]
        rows = [
            ("posted", len(self.posted), MESSAGES),
            ("different ids", len(set(self.posted)), MESSAGES),
            ("delivered", len(self.delivered), MESSAGES),
            ("delivered in the order of posting", in_order, True),
            ("acknowledged", len(self.acknowledged), MESSAGES),
            ("acknowledged what was posted", self.acknowledged == self.posted, True),
            ("left in the queue", info["size"], 0),
            ("ever posted, says the queue", info["total_messages"], MESSAGES),
        ]
        for name, value, wanted in rows:
            mark = "ok   " if value == wanted else "WRONG"
            print(f"    {mark} {name}: {value}" + ("" if value == wanted else f", not {wanted}"))
        print(f"    requests sent again under their key: {self.again}")
        print(f"    first success after the kill: {self.first_success_s:.2f} s", flush=True)
        return all(value == wanted for _, value, wanted in rows)


def show_access(cluster):
    """Addresses, ids and a line to try."""
    info = cluster.reload()
    print()
    for node in info["nodes"]:
        print(f"node {node['id']}: {node['http']}  metrics {node['metrics']}  pid {node['pid']}")
    print(f"project id:  {info['project_id']}")
    print(f"token:       {info['token']}")
    print(f"admin token: {info['admin_token']}")
    url = f"{info['nodes'][0]['http']}/3/projects/{info['project_id']}/queues/mail/messages"
    print("\ntry:")
    print(
        f"  curl -X POST {url} -H 'Authorization: OAuth {info['token']}' "
        "-H 'Content-Type: application/json' -d '{\"messages\":[{\"body\":\"hello\"}]}'",
        flush=True,
    )


def print_env(directory):
    """Shell lines for `eval`: where our program finds the cluster, and old client libraries do."""
    found = clusters.Cluster("bessemer", directory)
    try:
        info = found.reload()
    except OSError:
        sys.exit(f"no cluster in {directory}: start one with ./dev up")
    host, port = info["nodes"][0]["http"].removeprefix("http://").rsplit(":", 1)
    values = {
        "BESSEMER_DIR": str(found.directory),
        "IRON_PROTOCOL": "http",
        "IRON_HOST": host,
        "IRON_PORT": port,
        "IRON_PROJECT_ID": info["project_id"],
        "IRON_TOKEN": info["token"],
    }
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")


def wait_for_end(cluster):
    """Until Ctrl-C, SIGTERM, or the supervisor's end (./dev down)."""
    print("\nThe cluster runs until Ctrl-C or ./dev down.", flush=True)
    while cluster.supervisor.poll() is None:
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary")
    parser.add_argument("--dir", required=True)
    parser.add_argument("--once", action="store_true", help="end by itself")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty directory")
    parser.add_argument("--print-env", action="store_true")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args()
    if options.print_env:
        return print_env(options.dir)
    if options.stop:
        stopped = clusters.stop_running(options.dir)
        return print("stopped" if stopped else "nothing was running")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        first_port = None if options.fresh else 8080
        with clusters.Cluster(
            options.binary, options.dir, fresh=options.fresh, first_port=first_port
        ) as cluster:
            print(f"    three nodes ready after {time.monotonic() - began:.1f} s", flush=True)
            right = Job(cluster).run()
            print(f"<== main job: {'done' if right else 'WRONG'} in {time.monotonic() - began:.1f} s")
            show_access(cluster)
            if not options.once and right:
                wait_for_end(cluster)
    except clusters.Failed as failure:
        sys.exit(f"main job failed: {failure}")
    except KeyboardInterrupt:
        print("\nstopped")
        sys.exit(0)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
