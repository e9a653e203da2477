"""Puts the figures of docs/figures/*.json between the marks of docs/performance.md.

Every number in that page comes from a file that `./dev nightly` wrote; nothing is typed by hand.
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- figures begin: ./dev nightly -->", "<!-- figures end -->"


def read(name):
    path = ROOT / "docs/figures" / name
    return json.loads(path.read_text()) if path.exists() else None


def bench_rows(figures):
    machine = figures["machine"]
    rows = [
        f"Three nodes on one machine: {machine['cores']} cores, {machine['processor']}, "
        f"Linux {machine['kernel']}.",
        "",
        "| clients | messages a request | body bytes | queues | cycles/s | p50, p99 ms per step |",
        "|---|---|---|---|---|---|",
    ]
    for entry in figures["loads"]:
        load, result = entry["load"], entry["result"]
        steps = ", ".join(step_text(name, result) for name in ("post", "reserve", "delete"))
        rows.append(
            f"| {load['clients']} | {load['batch']} | {load['size']} | {load['queues']} "
            f"| {result['cycles_per_s']:.0f} | {steps} |"
        )
    hours = figures["load_seconds"] / 3600
    rows += ["", f"False elections under this load: {figures['false_elections']} in "
                 f"{hours:.2f} hours."]
    return rows


def step_text(name, result):
    step = result["steps"][name]
    return f"{name} {step['p50_ms']:.1f}, {step['p99_ms']:.1f}"


def kill_rows(figures):
    rows = [
        f"{figures['rounds']} rounds of the leader, a follower, all three nodes in "
        f"{figures['seconds']:.0f} s: {figures['operations']} operations, "
        f"{figures['info_share']:.2%} of unknown outcome, verdict **{figures['verdict']}**.",
        "",
        "| lost | times | first write p50 s | p99 s | max s |",
        "|---|---|---|---|---|",
    ]
    for kind, values in figures["recovery"].items():
        rows.append(
            f"| {kind} | {values['kills']} | {values['first_write_s_p50']} "
            f"| {values['first_write_s_p99']} | {values['first_write_s_max']} |"
        )
    return rows


def scale_rows(figures):
    sizes = figures["sizes"]
    rows = [
        f"{sizes['lapses']} reservations that lapse at once, {sizes['polls']} waiting long polls, "
        f"{sizes['cleared']} messages cleared, {sizes['parked']} behind one ordering key; a few "
        f"other clients go on at every node meanwhile. Verdict **{figures['verdict']}**.",
        "",
        "| event | seconds | others' requests | p50 ms | p99 ms | max ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, event in figures["events"].items():
        others = event["probe"]
        rows.append(
            f"| {name} | {event['seconds']:.1f} | {others['requests']} | {others['p50_ms']} "
            f"| {others['p99_ms']} | {others['max_ms']} |"
        )
    return rows


def catchup_rows(figures):
    seen = figures["figures"]
    rows = [
        f"{figures['state_mb']} MiB of state. Verdict **{figures['verdict']}**. "
        f"By log, after a short absence: {seen['(a) by log']['caught_up_s']} s.",
        "",
        "| node | caught up s | MiB | MiB/s | sender grows MiB | receiver grows MiB "
        "| writes meanwhile p50, p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for phase, name in [("b", "too far behind"), ("d", "new, in place of a lost one")]:
        moved, memory = seen[f"({phase}) by snapshot"], seen[f"({phase}) memory"]
        writes = seen[f"({phase}) write latency"]["during"]
        rows.append(
            f"| {name} | {moved['caught_up_s']} | {moved['snapshot_mib']} | {moved['mib_per_s']} "
            f"| {memory['sender']['anon_growth_mib']} | {memory['receiver']['anon_growth_mib']} "
            f"| {writes['p50_ms']}, {writes['p99_ms']} |"
        )
    return rows


def body():
    rows = []
    for title, name, write in [
        ("### Cycles", "bench.json", bench_rows),
        ("### After kill -9", "kill.json", kill_rows),
        ("### After a power cut", "power.json", kill_rows),
        ("### Many at once", "scale.json", scale_rows),
        ("### A node that comes back by snapshot", "catchup.json", catchup_rows),
    ]:
        figures = read(name)
        rows += ["", title, ""]
        rows += write(figures) if figures else ["Not measured yet."]
    return "\n".join(rows) + "\n\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="else only print the figures")
    options = parser.parse_args()
    if not options.write:
        return print(body())
    text = PAGE.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{PAGE} needs one {BEGIN!r} and one {END!r}")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + body() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
