"""Cuts the power of nodes under load, again and again, and has the history judged.

Each node's directory is an ext4 file system of its own on a loop device. A cut stops that file
system at once (the ext4 shutdown ioctl, without flushing its journal), kills the node, and mounts
the file system again: what was not synced is gone, as after a real cut. Round after round the
leader, a follower, then all nodes at once. Proof of a cut: a file written just before without a
sync is gone, one with a sync is there.

Needs root, loop devices and mkfs.ext4; ends with status 5 where it cannot inject the fault.
"""

import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import harness
import kill
from clients import clusters

CANNOT_INJECT = 5
# _IOR('X', 125, __u32) and EXT4_GOING_FLAGS_NOLOGFLUSH of linux/fs/ext4/ext4.h.
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = (2).to_bytes(4, "little")
CANARY = b"canary" * 1000
# Above the low-water mark of 1 GiB, below which a node takes no posts; the file is sparse.
DISK_BYTES = 3 << 30
# Small segments, so that three nodes fit on small disks.
SMALL_LOG = {"BESSEMER_LOG_SEGMENT_BYTES": str(16 << 20), "BESSEMER_LOG_BYTES_MAX": str(64 << 20)}


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise clusters.Failed(f"{' '.join(words)}: {done.stderr.strip()}")


class Disk:
    """A file system of its own, mounted at `mount_point`."""

    def __init__(self, image, mount_point):
        self.image = str(image)
        self.mount_point = pathlib.Path(mount_point)
        self.cuts = 0

    def make(self):
        with open(self.image, "wb") as file:
            file.truncate(DISK_BYTES)
        command("mkfs.ext4", "-q", "-F", self.image)
        self.mount_point.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self):
        # Only a sync makes anything durable: the journal commits by itself every ten minutes.
        command("mount", "-o", "loop,commit=600,noatime", self.image, str(self.mount_point))

    def unmount(self):
        clusters.wait_until(f"{self.mount_point} unmounted", 20, self.try_unmount, 0.05)

    def try_unmount(self):
        return subprocess.run(["umount", self.mount_point], capture_output=True).returncode == 0

    def write_canaries(self):
        """One file that must survive the cut and one whose bytes must not."""
        self.cuts += 1
        synced = os.open(self.synced(), os.O_CREAT | os.O_WRONLY)
        os.write(synced, CANARY)
        os.fsync(synced)
        os.close(synced)
        self.unsynced().write_bytes(CANARY)

    def synced(self):
        return self.mount_point / f"synced-{self.cuts}"

    def unsynced(self):
        return self.mount_point / f"unsynced-{self.cuts}"

    def cut(self):
        folder = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        os.close(folder)

    def check_canaries(self):
        if not self.synced().exists() or self.synced().read_bytes() != CANARY:
            raise clusters.Failed("a synced file is gone: this disk cannot be trusted")
        if self.unsynced().exists() and self.unsynced().read_bytes() == CANARY:
            raise clusters.Failed("an unsynced file survived: the cut did not happen")
        self.synced().unlink()
        self.unsynced().unlink(missing_ok=True)

    def remove(self):
        self.try_unmount()
        pathlib.Path(self.image).unlink(missing_ok=True)


def cut_power(run, disks, kind, node_ids):
    """Cuts `node_ids` as close together as can be, and gives them their disks again."""
    cluster = run.cluster
    pids = [cluster.node(node_id)["pid"] for node_id in node_ids]
    supervisor = cluster.supervisor.pid
    os.kill(supervisor, signal.SIGSTOP)  # no restart before the disks are back
    try:
        for node_id in node_ids:
            disks[node_id].write_canaries()
        t_inv = time.monotonic()
        for node_id in node_ids:
            disks[node_id].cut()
        for node_id, pid in zip(node_ids, pids):
            if clusters.process_is(pid, "bessemer"):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            clusters.wait_until("node gone", 10, lambda: not clusters.process_is(pid, "bessemer"))
        t_ok = time.monotonic()
        for node_id in node_ids:
            disks[node_id].unmount()
            disks[node_id].mount()
            disks[node_id].check_canaries()
    finally:
        os.kill(supervisor, signal.SIGCONT)
    run.recorder.add(op="kill", kind=f"{kind} (power)", nodes=node_ids, pids=pids, t_inv=t_inv,
                     t_ok=t_ok)


def one_round(run, number, gap_s, disks):
    for kind in ("leader", "follower", "all"):
        harness.healthy(run.cluster)
        harness.record_chains(run.cluster, run.recorder)
        time.sleep(gap_s)
        cut_power(run, disks, kind, kill.choose(run.cluster, kind, number))
        run.raise_harness_errors()


def can_inject():
    return os.geteuid() == 0 and shutil.which("mkfs.ext4") and os.path.exists("/dev/loop-control")


def main():
    options = harness.parse(__doc__.split("\n")[0], "each: leader, follower, all")
    if not can_inject():
        print("    not injected: needs root, mkfs.ext4 and loop devices")
        sys.exit(CANNOT_INJECT)
    cluster = clusters.Cluster(options.binary, options.dir)
    directory = cluster.directory
    disks = {
        node_id: Disk(directory.with_name(f"{directory.name}-disk-{node_id}"),
                      directory / f"node-{node_id}")
        for node_id in (1, 2, 3)
    }
    for disk in disks.values():
        disk.try_unmount()  # what a run that was ended in its middle may have left
    cluster.remove()
    cluster.extra_environment = SMALL_LOG
    try:
        for disk in disks.values():
            disk.make()
        (directory / ".made-for-a-cluster").touch()
        harness.run_and_judge(
            options, cluster, lambda run, number: one_round(run, number, options.gap, disks)
        )
    finally:
        for disk in disks.values():
            disk.remove()


if __name__ == "__main__":
    main()
