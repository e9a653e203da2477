"""The memory of processes, looked at again and again while they work.

Not here: what growth is too much (`returns.py`). All sizes are bytes as the kernel counts them;
figures are in MiB. Growth is told by anonymous memory: file-backed pages are the kernel's to take.
"""

import collections
import contextlib
import pathlib
import threading
import time

MIB = 1 << 20
SAMPLE_S = 0.1
FIELDS = ("RssAnon:", "RssFile:", "VmRSS:", "VmHWM:")

# Anonymous, file-backed and all resident bytes of a process, and the peak of all.
Sample = collections.namedtuple("Sample", "t pid anon file rss peak")


def memory_of(pid):
    """Bytes of `pid` in the order of `FIELDS`, or None when it has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kib = {words[0]: int(words[1]) for words in map(str.split, text.splitlines())
           if words[0] in FIELDS}
    if len(kib) < len(FIELDS):  # it has just ended
        return None
    return [kib[name] * 1024 for name in FIELDS]


def forget_peak(pid):
    """Has the kernel count VmHWM of `pid` from now on. Source: proc_pid_clear_refs(5)."""
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def most(samples, field):
    """The largest value of a field, in MiB."""
    return round(max(getattr(sample, field) for sample in samples) / MIB, 1)


class Sampler(threading.Thread):
    """Looks at the memory of all nodes every `SAMPLE_S`; `pids` gives node id to process id."""

    def __init__(self, pids):
        super().__init__(name="sampler", daemon=True)
        self.pids = pids
        self.stopping = threading.Event()
        self.samples = collections.defaultdict(list)

    def run(self):
        while not self.stopping.wait(SAMPLE_S):
            for node, pid in self.pids().items():
                found = memory_of(pid) if pid else None
                if found:
                    self.samples[node].append(Sample(time.monotonic(), pid, *found))

    def stop(self):
        self.stopping.set()
        self.join()

    def between(self, node, t_from, t_to):
        return [sample for sample in list(self.samples[node]) if t_from <= sample.t <= t_to]

    def growth(self, node, before, during):
        """Figures of `node`, and its growth: the most while `during` against the most `before`.

        The most and not the last: under load memory rises and falls with each flush. None when
        there are no samples of either span.
        """
        earlier, later = self.between(node, *before), self.between(node, *during)
        if not earlier or not later:
            return None
        anon_before, anon_during = most(earlier, "anon"), most(later, "anon")
        return {
            "samples": len(later),
            "anon_before_mib": anon_before,
            "anon_during_mib": anon_during,
            "anon_growth_mib": round(anon_during - anon_before, 1),
            "file_growth_mib": round(most(later, "file") - most(earlier, "file"), 1),
            "rss_peak_growth_mib": round(most(later, "peak") - most(earlier, "rss"), 1),
        }
