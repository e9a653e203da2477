"""Small disks that can be filled and emptied under a running node.

Not here: who fills them when (`full_disk.py`). A filler is one file beside the node's own; it
takes allocated blocks, so that a full disk says ENOSPC as a real one does.
"""

import errno
import os
import threading

import power

MIB = 1 << 20
DISK_BYTES = 448 * MIB
# From coarse to fine: the last one is a block of the file system.
STEPS_BYTES = (16 * MIB, MIB, 64 << 10, 4 << 10)
LOOK_S = 0.1


class SmallDisk(power.Disk):
    """A disk of `power.py`, smaller, without blocks kept for root, and with a filler."""

    def make(self):
        with open(self.image, "wb") as file:
            file.truncate(DISK_BYTES)
        power.command("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.mount_point.mkdir(parents=True, exist_ok=True)
        self.mount()

    @property
    def filler(self):
        return self.mount_point / "filler"

    def free_bytes(self):
        stat = os.statvfs(self.mount_point)
        return stat.f_bavail * stat.f_frsize

    def fill(self, left_bytes):
        """Takes what is free beyond `left_bytes`; with 0, until nothing can be allocated."""
        with open(self.filler, "ab") as file:
            for step in STEPS_BYTES:
                while left_bytes == 0 or self.free_bytes() - step >= left_bytes:
                    if not allocated(file.fileno(), step):
                        break

    def empty(self):
        self.filler.unlink(missing_ok=True)
        folder = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)  # the journal gives freed blocks back only when it commits
        os.close(folder)


def allocated(file, step_bytes):
    """Makes a file longer by allocated blocks; False when they do not fit."""
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, step_bytes)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


class Filler(threading.Thread):
    """Keeps disks filled until it is left: what the nodes free meanwhile is taken, too."""

    def __init__(self, disks, left_bytes):
        super().__init__(name="filler", daemon=True)
        self.disks = disks
        self.left_bytes = left_bytes
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(LOOK_S):
            for disk in self.disks:
                disk.fill(self.left_bytes)

    def __enter__(self):
        for disk in self.disks:
            disk.fill(self.left_bytes)
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join(30)
        for disk in self.disks:
            disk.empty()
