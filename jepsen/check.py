"""The judge of a recorded history: valid, violation or unknown.

Every check is a function from a `History` to (violations, opportunities). Its rule raises no
false alarm: an operation of unknown outcome may have happened at any time after it was sent, or
never. A check that had no opportunity to fail proves nothing: the verdict is then `unknown`.
"""

import argparse
import json
import sys

import history as histories

# Log time runs at most 1 % off the clock; a lease is also cut short by this much.
LEASE_EPSILON_S = 0.25
LEASE_RATE = 0.99
# A reserve whose answer was lost may be decided, and taken back, this long after its client gave
# up: the patience of each of the two requests.
UNDO_S = 20
INFO_SHARE_MAX = 0.05
VIOLATIONS_SHOWN = 5


def no_loss(history):
    """Every acknowledged post is delivered and acknowledged once all queues are drained."""
    gone = {ack["id"] for ack in history.acks if ack["outcome"] in ("ok", "info")}
    drained = any(line["outcome"] == "ok" for line in history.of("drained"))
    posted = posted_ids(history)
    if not drained:
        return [], 0
    lost = [f"{uid} ({message}) was posted and is gone" for message, uid in posted.items()
            if message not in gone]
    return lost, len(posted)


def posted_ids(history):
    """Message id to uid, of posts known to have happened."""
    return {
        message: uid
        for post in history.posts
        if post["outcome"] == "ok"
        for message, uid in zip(post["ids"], post["uids"])
    }


def ack_once(history):
    """At most one acknowledgement of a message succeeds."""
    seen, violations, again = set(), [], 0
    for ack in sorted(history.acks, key=lambda ack: ack["t_ok"]):
        again += ack["id"] in seen
        if ack["outcome"] != "ok":
            continue
        if ack["id"] in seen:
            violations.append(f"{ack['id']} was acknowledged twice, again at {ack['t_ok']:.3f}")
        seen.add(ack["id"])
    return violations, again


def ack_final(history):
    """An acknowledged message never comes back."""
    ended = {}
    for ack in history.acks:
        if ack["outcome"] == "ok":
            ended[ack["id"]] = min(ack["t_ok"], ended.get(ack["id"], ack["t_ok"]))
    violations = [
        f"{delivery.uid} ({delivery.id}) was delivered at {delivery.t_ok:.3f}, "
        f"acknowledged at {ended[delivery.id]:.3f}"
        for delivery in history.deliveries
        if delivery.id in ended and delivery.t_inv > ended[delivery.id]
    ]
    last = max((delivery.t_inv for delivery in history.deliveries), default=0)
    return violations, sum(t_ok < last for t_ok in ended.values())


def no_ghost(history):
    """Whatever is delivered was posted, once per post, and every post that failed never shows."""
    attempts, failed, known = {}, set(), {}
    for post in history.posts:
        for index, uid in enumerate(post["uids"]):
            if post["outcome"] == "fail":
                failed.add(uid)
                continue
            attempts[uid] = attempts.get(uid, 0) + 1
            if post["outcome"] == "ok":
                known.setdefault(uid, set()).add(post["ids"][index])
    violations, found = [], {}
    for delivery in history.deliveries:
        found.setdefault(delivery.uid, set()).add(delivery.id)
    for uid, ids in found.items():
        if uid not in attempts:
            why = "its post failed" if uid in failed else "nobody posted it"
            violations.append(f"{uid} was delivered, but {why}")
        elif len(ids | known.get(uid, set())) > attempts[uid]:
            violations.append(f"{uid} is there as {sorted(ids)} after {attempts[uid]} posts")
    return violations, len(found)


def order(history):
    """First deliveries keep the order of posts, per queue; one answer is in order, too.

    a was posted before b began to be posted, and b was delivered before the reserve that first
    delivered a was even sent. The first delivery of a is known when its count is 1, and no reserve
    may have held a meanwhile whose answer was lost: such a one is taken back with its count.
    """
    violations, opportunities = [], 0
    first, lost = {}, {}
    for message, deliveries in history.deliveries_by_message().items():
        first[message] = deliveries[0]
    for reserve in history.reserves:
        if reserve["outcome"] == "info":
            lost.setdefault(reserve["queue"], []).append(reserve)
    by_queue = {}
    for post in history.posts:
        if post["outcome"] == "ok" and not post.get("delayed"):
            for message, uid in zip(post["ids"], post["uids"]):
                if message in first and first[message].queue == post["queue"]:
                    by_queue.setdefault(post["queue"], []).append((post, uid, first[message]))
    for queue, rows in by_queue.items():
        found, pairs = order_in_queue(rows, lost.get(queue, []))
        violations += found
        opportunities += pairs
    found, pairs = order_in_answers(history)
    return violations + found, opportunities + pairs


def order_in_queue(rows, lost):
    """Sweeps over posts by time; keeps the earlier post whose first delivery was sent last."""
    violations, pairs = [], 0
    earlier = sorted((row for row in rows if row[2].count == 1), key=lambda row: row[0]["t_ok"])
    at, latest = 0, None
    for post, uid, delivery in sorted(rows, key=lambda row: row[0]["t_inv"]):
        while at < len(earlier) and earlier[at][0]["t_ok"] < post["t_inv"]:
            if latest is None or earlier[at][2].t_inv > latest[2].t_inv:
                latest = earlier[at]
            at += 1
        if latest is None:
            continue
        pairs += 1
        if delivery.t_ok < latest[2].t_inv:
            posted = latest[0]["t_ok"]
            if any(r["t_inv"] < delivery.t_ok and r["t_ok"] + UNDO_S > posted for r in lost):
                continue
            violations.append(
                f"{uid} was posted after {latest[1]}, but delivered at {delivery.t_ok:.3f}, "
                f"before {latest[1]} was asked for at {latest[2].t_inv:.3f}"
            )
    return violations, pairs


def order_in_answers(history):
    """Ids grow with the order of posts, so one answer of a plain queue has growing ids."""
    dead = dead_setting(history).get("target")
    violations, pairs = [], 0
    for reserve in history.reserves:
        if reserve["outcome"] != "ok" or reserve["queue"] == dead:
            continue
        ids = [message["id"] for message in reserve["messages"]]
        pairs += max(0, len(ids) - 1)
        if ids != sorted(ids):
            violations.append(f"one answer of {reserve['queue']} has {ids}, not in order")
    return violations, pairs


def one_holder(history):
    """Never two live reservations of one message.

    A holds until its lease ends, or until anybody sends an ack or a release under it. The lease
    is counted from when the reserve was sent; a touch that is ok counts it anew, and may make it
    shorter; one of unknown outcome may have made it shorter. No later reservation is delivered
    before that.
    """
    ended, touched = lease_events(history)
    violations, pairs = [], 0
    for message, deliveries in history.deliveries_by_message().items():
        earliest_later = None
        for delivery in reversed(deliveries):
            if earliest_later is not None:
                pairs += 1
                end = lease_end(delivery, touched)
                end = min(end, ended.get((message, delivery.reservation), end))
                if earliest_later.t_ok < end - LEASE_EPSILON_S:
                    violations.append(
                        f"{delivery.uid} ({message}) is held under {delivery.reservation} until "
                        f"{end:.3f}, and delivered again at {earliest_later.t_ok:.3f}"
                    )
            if earliest_later is None or delivery.t_ok < earliest_later.t_ok:
                earliest_later = delivery
    return violations, pairs


def lease_events(history):
    """When an ack or release under a reservation was first sent; its touches, in order.

    Both by message and the id that the line of touches began with: an end under any id of the
    line ends the whole line.
    """
    first_id = lines_of_touches(history)
    ended, touched = {}, {}
    for end in history.acks + history.releases:
        key = (end["id"], first_id(end["reservation"]))
        if end["outcome"] != "fail":
            ended[key] = min(end["t_inv"], ended.get(key, end["t_inv"]))
    for touch in sorted(history.touches, key=lambda touch: touch["t_inv"]):
        if touch["outcome"] != "fail":
            key = (touch["id"], first_id(touch["reservation"]))
            touched.setdefault(key, []).append(touch)
    return ended, touched


def lines_of_touches(history):
    """Gives a function from a reservation id to the id that its line of touches began with.

    A touch makes a new id, and the old ones stay valid as long as the newest.
    """
    before = {
        touch["new"]: touch["reservation"]
        for touch in history.touches
        if touch["outcome"] == "ok"
    }

    def first_id(reservation):
        while reservation in before:
            reservation = before[reservation]
        return reservation

    return first_id


def lease_end(delivery, touched):
    """The time until which the delivery is surely held, if nobody ends it."""
    end = delivery.t_inv + delivery.timeout_s * LEASE_RATE
    for touch in touched.get((delivery.id, delivery.reservation), []):
        renewed = touch["t_inv"] + touch["timeout_s"] * LEASE_RATE
        end = renewed if touch["outcome"] == "ok" else min(end, renewed)
    return end


def ack_fenced(history):
    """No acknowledgement succeeds under a reservation older than one already delivered."""
    by_message = history.deliveries_by_message()
    first_id = lines_of_touches(history)
    violations, tried = [], 0
    for ack in history.acks:
        deliveries = by_message.get(ack["id"], [])
        reservation = first_id(ack["reservation"])
        own = next((d.count for d in deliveries if d.reservation == reservation), None)
        newer = [d for d in deliveries if own and d.count > own and d.t_ok < ack["t_inv"]]
        tried += bool(newer)
        if newer and ack["outcome"] == "ok":
            violations.append(
                f"{ack['id']} was acknowledged under {ack['reservation']} at {ack['t_inv']:.3f}, "
                f"after {newer[0].reservation} was delivered at {newer[0].t_ok:.3f}"
            )
    return violations, tried


def dead_setting(history):
    return history.config.get("dead", {})


def dead_letters(history):
    """A message is dead after exactly `max` reservations, keeps its id, and never returns."""
    setting = dead_setting(history)
    if not setting:
        return [], 0
    violations, seen_dead = [], 0
    sources = {
        message
        for post in history.posts
        if post["outcome"] == "ok" and post["queue"] == setting["source"]
        for message in post["ids"]
    }
    maybe = {uid for post in history.posts if post["queue"] == setting["source"]
             for uid in post["uids"]}
    acked = {(ack["queue"], ack["id"]) for ack in history.acks if ack["outcome"] == "ok"}
    for message, deliveries in history.deliveries_by_message().items():
        source = [d for d in deliveries if d.queue == setting["source"]]
        dead = [d for d in deliveries if d.queue == setting["target"]]
        name = f"{deliveries[0].uid} ({message})"
        over = [d.count for d in source if d.count > setting["max"]]
        if over:
            violations.append(f"{name} was reserved {over[0]} times, {setting['max']} allowed")
        if not dead:
            continue
        seen_dead += 1
        if dead[0].count <= setting["max"]:
            violations.append(f"{name} is dead after {dead[0].count - 1} reservations")
        if message not in sources and dead[0].uid not in maybe:
            violations.append(f"{name} is dead, but was never in {setting['source']}")
        if (setting["source"], message) in acked:
            violations.append(f"{name} was acknowledged and is dead")
        if any(d.t_inv > dead[0].t_ok for d in source):
            violations.append(f"{name} came back from the dead")
    return violations, seen_dead


def same_state(history):
    """Nodes that have applied the same entries have the same hash chain."""
    by_index, violations, pairs = {}, [], 0
    for line in history.of("chain"):
        other = by_index.setdefault(line["applied"], line)
        if other["node"] != line["node"]:
            pairs += 1
            if other["chain"] != line["chain"]:
                violations.append(
                    f"nodes {other['node']} and {line['node']} differ at entry {line['applied']}"
                )
    return violations, pairs


def liveness(history):
    """After the last fault everything drains; after every leader kill a write succeeds."""
    violations = [
        f"not drained: {line['sizes']}" for line in history.of("drained") if line["outcome"] != "ok"
    ]
    for kill in history.kills:
        if first_write_after(history, kill) is None:
            violations.append(f"no write succeeded after the kill at {kill['t_ok']:.3f}")
    return violations, len(history.of("drained")) and len(history.kills)


CHECKS = [
    no_loss, ack_once, ack_final, no_ghost, order, one_holder, ack_fenced, dead_letters,
    same_state, liveness,
]


def first_write_after(history, kill):
    """Seconds from a kill to the first answer of a post that was sent after it."""
    times = [
        post["t_ok"] - kill["t_ok"]
        for post in history.posts
        if post["outcome"] == "ok" and post["t_inv"] >= kill["t_ok"]
    ]
    return min(times, default=None)


def percentile(values, percent):
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def recovery(history):
    """Per kind of kill: how many, and seconds to the first write after it."""
    found = {}
    for kill in history.kills:
        seconds = first_write_after(history, kill)
        if seconds is not None:
            found.setdefault(kill["kind"], []).append(seconds)
    return {
        kind: {
            "kills": len(values),
            "first_write_s_p50": round(percentile(values, 50), 3),
            "first_write_s_p99": round(percentile(values, 99), 3),
            "first_write_s_max": round(max(values), 3),
        }
        for kind, values in found.items()
    }


def judge(lines):
    """The verdict on a whole history, with the figures of every check."""
    history = histories.History(lines)
    checks, broken, vacuous = {}, False, []
    for check in CHECKS:
        violations, opportunities = check(history)
        checks[check.__name__] = {
            "violations": len(violations),
            "first": violations[:VIOLATIONS_SHOWN],
            "opportunities": opportunities,
        }
        broken = broken or bool(violations)
        if not violations and not opportunities:
            vacuous.append(check.__name__)
    ops = history.client_ops()
    info_share = sum(op["outcome"] == "info" for op in ops) / max(1, len(ops))
    why = [f"{name} had no opportunity" for name in vacuous]
    if info_share > INFO_SHARE_MAX:
        why.append(f"{info_share:.1%} of the outcomes are unknown")
    return {
        "verdict": "violation" if broken else "unknown" if why else "valid",
        "why_unknown": why,
        "operations": len(ops),
        "info_share": round(info_share, 4),
        "checks": checks,
        "recovery": recovery(history),
    }


def show(result):
    """A line per check."""
    for name, check in result["checks"].items():
        mark = "VIOLATED" if check["violations"] else "ok" if check["opportunities"] else "VACUOUS"
        print(f"    {mark:8} {name}: {check['opportunities']} opportunities")
        for violation in check["first"]:
            print(f"             {violation}")
    for kind, figures in result["recovery"].items():
        print(f"    first write after the loss of {kind}: {figures}")
    print(f"    {result['operations']} operations, {result['info_share']:.2%} unknown outcomes")
    for why in result["why_unknown"]:
        print(f"    unknown: {why}")
    print(f"    verdict: {result['verdict']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("history", help="a file that jepsen/kill.py wrote")
    options = parser.parse_args()
    result = judge(histories.load(options.history))
    show(result)
    print(json.dumps(result))
    sys.exit({"valid": 0, "violation": 1, "unknown": 4}[result["verdict"]])


if __name__ == "__main__":
    main()
