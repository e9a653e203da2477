"""Makes the data directory that later versions must read: tests/compat/VERSION/data.tar.gz.

One node, killed in the middle of its work: some of it is in the state, some in the log alone, some
behind a snapshot. `crates/storage/tests/compat.rs` reads it.
"""

import argparse
import os
import pathlib
import sys
import tarfile
import time

import cluster as clusters

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Small segments: what is unused of them is packed, too.
SMALL = {"BESSEMER_LOG_SEGMENT_BYTES": str(16 << 20)}
LARGE_BODIES = 300
FLUSHED_AFTER_S = 12


def work(cluster, queue, first):
    """Posts with and without ordering keys, holds some, acknowledges some."""
    ask = cluster.ask
    bodies = [{"body": f"{queue} {number}"} for number in range(first, first + 10)]
    made = expect(ask(0, "POST", f"/{queue}/messages", {"messages": bodies}))
    expect(ask(0, "POST", f"/{queue}/messages",
               {"messages": [{"body": "late", "delay": 604800}]}, key=f"{queue}-{first}"))
    held = expect(ask(0, "POST", f"/{queue}/reservations",
                      {"n": 3, "timeout": 86400}))["messages"]
    first_held = held[0]
    expect(ask(0, "DELETE", f"/{queue}/messages/{first_held['id']}",
               {"reservation_id": first_held["reservation_id"]}))
    return made


def expect(answer):
    if answer.status >= 300:
        raise clusters.Failed(f"refused: {answer}")
    return answer.body


def fill(cluster):
    """Writes enough log for a snapshot, then clears it."""
    path = "/large"
    for _ in range(LARGE_BODIES):
        expect(cluster.ask(0, "POST", f"{path}/messages", {"messages": [{"body": "x" * 250_000}]}))
    expect(cluster.ask(0, "DELETE", f"{path}/messages", {}))


def without_traces(entry):
    """Leaves out what tells of the machine and is not read."""
    if pathlib.Path(entry.name).name.startswith("LOG"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def make(binary, directory, version):
    os.environ.update(SMALL)
    clusters.own_environment = lambda: dict(os.environ)
    with clusters.Cluster(binary, directory, nodes=1, fresh=True, restart=False) as cluster:
        expect(cluster.ask(0, "PUT", f"/dead", {}))
        settings = {"message_timeout": 90, "dead_letter": {"queue_name": "dead", "max_reservations": 3}}
        expect(cluster.ask(0, "PUT", f"/jobs", {"queue": settings}))
        work(cluster, "jobs", 0)
        fill(cluster)
        work(cluster, "mail", 0)
        time.sleep(FLUSHED_AFTER_S)
        work(cluster, "jobs", 100)
        cluster.kill(1)
        data = pathlib.Path(directory) / "node-1" / "data"
        target = ROOT / "tests/compat" / version / "data.tar.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w:gz") as archive:
            archive.add(data, "data", filter=without_traces)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("/tmp/bessemer-compat"))
    parser.add_argument("--version", required=True)
    options = parser.parse_args()
    try:
        make(options.binary, options.dir, options.version)
    except clusters.Failed as failure:
        sys.exit(f"failed: {failure}")


if __name__ == "__main__":
    main()
