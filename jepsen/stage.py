"""What the events of `scale.py` share: clients on every node, and spans of time with figures.

Not here: what happens in an event. Every request here is keyed and sent again until its outcome
is known, so an event never has to guess.
"""

import asyncio
import contextlib
import os
import pathlib
import time

import swarm

# The limits of docs/reference/limits.md.
POST_MAX, RESERVE_MAX = 1000, 100
LOADERS_PER_NODE = 2
LONG_MS = 3_600_000


class Stage:
    """What all events share: clients on every node, spans of time, and what went wrong."""

    def __init__(self, cluster, sizes):
        self.cluster = cluster
        self.sizes = sizes
        self.project = f"/v1/projects/{cluster.info['project_id']}"
        self.clients = [self.client(number) for number in range(LOADERS_PER_NODE * 3)]
        self.events = {}  # name to figures; `began` and `ended` by the monotonic clock
        self.violations = []

    def client(self, number):
        """A new connection to a node, in turn."""
        urls = self.cluster.urls
        return swarm.Client(urls[number % len(urls)], self.cluster.info["token"])

    def queue(self, name, rest=""):
        return f"{self.project}/queues/{name}{rest}"

    def check(self, right, text):
        if not right:
            self.violations.append(text)
            print(f"    VIOLATED {text}", flush=True)

    def check_equal(self, found, wanted, what):
        """Both are lists; tells the first difference."""
        if found == wanted:
            return
        pairs = enumerate(zip(found, wanted))
        at = next((i for i, (a, b) in pairs if a != b), min(len(found), len(wanted)))
        self.check(False, f"{what}: {len(found)} of {len(wanted)}, first different at {at}: "
                          f"{found[at:at + 3]}, not {wanted[at:at + 3]}")

    @contextlib.contextmanager
    def event(self, name):
        """A span of time in which others are measured. Gives its figures, to be added to."""
        cpu_s = nodes_cpu_s(self.cluster)
        figures = {"began": time.monotonic()}
        yield figures
        figures["ended"] = time.monotonic()
        figures["seconds"] = round(figures["ended"] - figures["began"], 3)
        figures["nodes_cpu_s"] = round(nodes_cpu_s(self.cluster) - cpu_s, 2)
        self.events[name] = figures
        print(f"    {name}: {figures['seconds']} s, of the nodes' processors "
              f"{figures['nodes_cpu_s']} s", flush=True)

    # ---- what the events ask --------------------------------------------------------------

    async def info(self, name, node=0):
        return await self.clients[node].sure("GET", self.queue(name))

    async def post(self, name, bodies, node=0, key=None):
        """At most POST_MAX messages, in order."""
        ordered = {} if key is None else {"ordering_key": key}
        body = {"messages": [{"body": text, **ordered} for text in bodies]}
        return await self.clients[node].sure("POST", self.queue(name, "/messages"), body)

    async def fill(self, name, numbers, key=None):
        """Posts as fast as all clients can, in no order across requests."""
        starts = iter(range(numbers.start, numbers.stop, POST_MAX))

        async def load(node):
            for start in starts:
                batch = range(start, min(start + POST_MAX, numbers.stop))
                await self.post(name, map(str, batch), node, key)

        began = time.monotonic()
        await asyncio.gather(*map(load, range(len(self.clients))))
        return round(time.monotonic() - began, 1)

    async def reserve(self, name, count=RESERVE_MAX, node=0, timeout_ms=LONG_MS):
        body = {"count": count, "timeout_ms": timeout_ms}
        answer = await self.clients[node].sure("POST", self.queue(name, "/reservations"), body)
        return answer["messages"]

    async def ack(self, name, messages, node=0):
        handles = [{"id": m["id"], "reservation_id": m["reservation_id"]} for m in messages]
        answer = await self.clients[node].sure(
            "POST", self.queue(name, "/acks"), {"messages": handles})
        self.check(answer["deleted"] == len(messages),
                   f"{name}: {answer['deleted']} of {len(messages)} acknowledged")

    async def drain(self, name):
        """Reserves and acknowledges on all nodes in turn until nothing comes."""
        found, turn = [], 0
        while messages := await self.reserve(name, node=turn % len(self.clients)):
            turn += 1
            found += messages
            await self.ack(name, messages, turn % len(self.clients))
        return found


def nodes_cpu_s(cluster):
    """Processor time of all nodes so far: unlike latency, it says little of other programs."""
    ticks = 0
    for node in cluster.info["nodes"]:
        fields = pathlib.Path(f"/proc/{node['pid']}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
