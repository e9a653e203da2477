"""How one node comes back: followed from its start, measured, and judged at rest.

Not here: why it was away (`catchup.py`, `lost_disk.py`). What came in as a snapshot is told by the
node's files, which a node without metrics has, too. A node that got a snapshot goes on by log: one
that needs a second never ends under a load that cuts the log faster than a snapshot goes over.
"""

import contextlib
import time

import probe
from catchup_run import within
from memory import MIB, SAMPLE_S, most

GROWTH_MIB_MAX = 64  # issue 2, "What must be seen" 4
# How long nodes and clients are watched before something is done to them.
BASELINE_S = 5
REST_S = 60


class StateDir:
    """What the files of a node say of snapshots that came in.

    An install makes `state-<n+1>`, and only an install does; until then `staging/<label>` grows.
    """

    def __init__(self, node_dir):
        self.path = node_dir / "data" / "state"

    def number(self):
        """n of the current state; 0 before there is one."""
        with contextlib.suppress(OSError):
            for line in (self.path / "CURRENT").read_text().splitlines():
                if line.startswith("state "):
                    return int(line.split()[1])
        return 0

    def staged(self):
        """Label and size of the snapshot that comes in, or None."""
        with contextlib.suppress(OSError):
            for staging in (self.path / "staging").iterdir():
                lines = (staging / "manifest").read_text().splitlines()
                sizes = [int(line.split()[1]) for line in lines if line.startswith("file ")]
                return staging.name, sum(sizes)
        return None


class CatchUp:
    """Follows one node from its start until it is where the leader is."""

    def __init__(self, run, node):
        self.run, self.node = run, node
        self.dir = StateDir(run.node_dir(node))
        self.state_before = max(1, self.dir.number())
        self.offered = {}  # label of each snapshot that was begun, to its bytes
        self.t_start = time.monotonic()
        self.t_offered = self.t_installed = self.t_end = None

    def look(self):
        """Notes what is new; True when the node has applied what the leader had just before."""
        leader = self.run.cluster.leader()
        theirs = self.run.status(leader) if leader else None
        self.look_at_files()
        ours = self.run.status(self.node)
        self.look_at_files()
        done = bool(theirs and ours and ours["applied"] >= theirs["applied"])
        if done:
            self.t_end = time.monotonic()
        return done

    def look_at_files(self):
        now = time.monotonic()
        staged = self.dir.staged()
        if staged and staged[0] not in self.offered:
            self.offered[staged[0]] = staged[1]
            self.t_offered = self.t_offered or now
        if self.installs() and not self.t_installed:
            self.t_installed = now

    def wait(self, seconds):
        """True once it has caught up; False after `seconds`."""
        return within(seconds, self.look)

    def installs(self):
        """Snapshots installed since its start, until now."""
        return max(0, self.dir.number() - self.state_before)

    def said(self):
        return (f"{self.since_start(self.t_end)} s, {self.installs()} snapshots installed of "
                f"{len(self.offered)} begun")

    def figures(self):
        said = {"node": self.node, "caught_up_s": self.since_start(self.t_end),
                "installs": self.installs(), "snapshots_begun": len(self.offered)}
        if self.t_installed and self.t_offered:
            seconds, size = self.t_installed - self.t_offered, list(self.offered.values())[0]
            said |= {"offered_s": self.since_start(self.t_offered),
                     "transfer_s": round(seconds, 2),
                     "snapshot_mib": round(size / MIB, 1),
                     "mib_per_s": round(size / MIB / max(seconds, 0.001), 1)}
        return said

    def since_start(self, t):
        return round(t - self.t_start, 2) if t else None


def settle(run, letter, nodes):
    """(c): without load, waits until `nodes` are at one index, and compares their chains."""
    found = {}

    def one_index():
        found.update({node: run.status(node) for node in nodes})
        return all(found.values()) and len({at["applied"] for at in found.values()}) == 1

    if not within(REST_S, one_index):
        run.must(f"({letter}) all nodes come to one index", False,
                 {node: at and at["applied"] for node, at in found.items()})
    chains = {at["chain"] for at in found.values()}
    applied = next(iter(found.values()))["applied"]
    run.check(f"({letter}) equal hash chains on nodes {sorted(nodes)}", len(chains) == 1,
              f"entry {applied}, {' and '.join(sorted(chain[:12] for chain in chains))}")


def check_one_snapshot(run, letter, follow):
    """Until now, which is the end of its phase, the node needed one snapshot and no second."""
    installs = follow.installs()
    run.check(f"({letter}) it needs one snapshot and no second", installs == 1,
              f"{installs} installed")


def report_transfer(run, letter, follow, sender, began):
    """Figures of a return by snapshot, taken while the load still runs."""
    run.figure(f"({letter}) by snapshot", follow.figures())
    before = (began - BASELINE_S, began)
    if follow.t_offered and follow.t_installed:
        report_latency(run, letter, before, (follow.t_offered, follow.t_installed))
        report_memory(run, letter, follow, sender, before)


def report_latency(run, letter, before, during):
    """What clients felt: only reported, except that writes must go on at all."""
    spans = {"before": run.latencies_s(*before), "during": run.latencies_s(*during)}
    run.figure(f"({letter}) write latency",
               {name: {"count": len(seconds), **probe.milliseconds(seconds)}
                for name, seconds in spans.items()})
    run.check(f"({letter}) writes go on meanwhile", spans["during"],
              f"{len(spans['during'])} posts")


def report_memory(run, letter, follow, sender, before):
    """Growth of every node while the snapshot went over; checked for sender and receiver.

    The receiver was only just started: its base is what it held when the snapshot was offered.
    What it fills afterwards, with the log and its caches, is held against other nodes at work.
    """
    during, whole = (follow.t_offered, follow.t_installed), (follow.t_start, time.monotonic())
    offered = (max(follow.t_start, follow.t_offered - 0.5), follow.t_offered + 2 * SAMPLE_S)
    found, at_work = {}, []
    for node in run.pids():
        role = {sender: "sender", follow.node: "receiver"}.get(node, "bystander")
        grown = run.sampler.growth(node, offered if role == "receiver" else before, during)
        if grown is None:  # it is down, or all went faster than samples are taken
            continue
        found[role] = grown
        if role != "receiver":
            at_work.append(grown["anon_before_mib"])
    run.figure(f"({letter}) memory", found)
    if run.options.small:
        return
    for role in ("sender", "receiver"):
        mib = found.get(role, {}).get("anon_growth_mib", "unknown")
        run.check(f"({letter}) memory of the {role} grows by less than {GROWTH_MIB_MAX} MiB",
                  role in found and mib < GROWTH_MIB_MAX, f"{mib} MiB")
    most_of_all = most(run.sampler.between(follow.node, *whole), "anon")
    run.check(f"({letter}) caught up, the receiver holds less than {GROWTH_MIB_MAX} MiB more than "
              "nodes at work", at_work and most_of_all < max(at_work) + GROWTH_MIB_MAX,
              f"{most_of_all} MiB, others {at_work} MiB")
