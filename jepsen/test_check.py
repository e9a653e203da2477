"""The checker on planted histories: at least three good and three bad ones for every check."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check  # noqa: E402
import history as histories  # noqa: E402


def post(uid, message, t_inv, t_ok=None, outcome="ok", queue="q"):
    """A post of one message; `message` is a small number that becomes its id."""
    return {
        "op": "post", "queue": queue, "node": 0, "uids": [uid], "outcome": outcome,
        "ids": [name(message)] if outcome == "ok" else None,
        "t_inv": t_inv, "t_ok": t_inv + 0.1 if t_ok is None else t_ok,
    }


def reserve(t_inv, *messages, t_ok=None, outcome="ok", queue="q", timeout_s=10):
    """Messages are (uid, id, reservation, count)."""
    return {
        "op": "reserve", "queue": queue, "node": 0, "timeout_s": timeout_s, "outcome": outcome,
        "t_inv": t_inv, "t_ok": t_inv + 0.1 if t_ok is None else t_ok,
        "messages": [
            {"uid": uid, "id": name(message), "reservation": reservation, "count": count}
            for uid, message, reservation, count in messages
        ],
    }


def end(op, message, reservation, t_inv, outcome="ok", queue="q", **more):
    return {
        "op": op, "queue": queue, "node": 0, "id": name(message), "reservation": reservation,
        "t_inv": t_inv, "t_ok": t_inv + 0.1, "outcome": outcome, **more,
    }


def ack(message, reservation, t_inv, outcome="ok", queue="q"):
    return end("ack", message, reservation, t_inv, outcome, queue)


def release(message, reservation, t_inv, outcome="ok"):
    return end("release", message, reservation, t_inv, outcome)


def touch(message, reservation, new, t_inv, timeout_s=10, outcome="ok"):
    return end("touch", message, reservation, t_inv, outcome, new=new, timeout_s=timeout_s)


def drained(outcome="ok"):
    return {"op": "drained", "t_ok": 99, "outcome": outcome, "sizes": {"q": 0}}


def kill(t_ok, kind="leader"):
    return {"op": "kill", "kind": kind, "nodes": [1], "t_inv": t_ok - 0.1, "t_ok": t_ok}


def chain(node, applied, text):
    return {"op": "chain", "node": node, "applied": applied, "chain": text}


def name(message):
    return f"{10**18 + message}"


DEAD = {"op": "config", "dead": {"source": "q", "target": "dead", "max": 2}}
# One message, posted, delivered, acknowledged.
PLAIN = [post("a", 1, 0), reserve(1, ("a", 1, "r1", 1)), ack(1, "r1", 2)]


class Checker(unittest.TestCase):
    """Each method: a check, its good histories, its bad ones."""

    def expect(self, rule, good, bad):
        self.assertGreaterEqual(len(good), 3)
        self.assertGreaterEqual(len(bad), 3)
        for number, lines in enumerate(good):
            violations, _ = rule(histories.History(lines))
            self.assertEqual(violations, [], f"good history {number}")
        for number, lines in enumerate(bad):
            violations, opportunities = rule(histories.History(lines))
            self.assertNotEqual(violations, [], f"bad history {number}")
            self.assertIsNotNone(opportunities)

    def test_no_loss(self):
        self.expect(
            check.no_loss,
            good=[
                PLAIN + [drained()],
                [post("a", 1, 0, outcome="info"), drained()],
                [post("a", 1, 0), ack(1, "r1", 2, outcome="info"), drained()],
                [post("a", 1, 0), drained("fail")],
            ],
            bad=[
                [post("a", 1, 0), drained()],
                PLAIN + [post("b", 2, 3), drained()],
                [post("a", 1, 0), ack(1, "r1", 2, outcome="fail"), drained()],
            ],
        )

    def test_ack_once(self):
        self.expect(
            check.ack_once,
            good=[
                PLAIN,
                PLAIN + [ack(1, "r1", 3, outcome="fail")],
                [post("a", 1, 0), ack(1, "r1", 1, outcome="info"), ack(1, "r2", 9)],
            ],
            bad=[
                PLAIN + [ack(1, "r1", 3)],
                PLAIN + [ack(1, "r2", 9)],
                PLAIN + [post("b", 2, 3), ack(2, "r2", 4), ack(1, "r3", 5)],
            ],
        )

    def test_ack_final(self):
        self.expect(
            check.ack_final,
            good=[
                PLAIN,
                PLAIN[:2] + [ack(1, "r1", 2, outcome="info"), reserve(20, ("a", 1, "r2", 2))],
                # The reserve was sent before the ack was answered.
                [post("a", 1, 0), ack(1, "r1", 2), reserve(2.05, ("a", 1, "r2", 2), t_ok=3)],
                [post("a", 1, 0), ack(1, "r1", 2, outcome="fail"), reserve(5, ("a", 1, "r2", 2))],
            ],
            bad=[
                PLAIN + [reserve(3, ("a", 1, "r2", 2))],
                PLAIN + [post("b", 2, 2), reserve(3, ("b", 2, "r3", 1), ("a", 1, "r2", 2))],
                PLAIN + [reserve(9, ("a", 1, "r9", 5), queue="dead")],
            ],
        )

    def test_no_ghost(self):
        self.expect(
            check.no_ghost,
            good=[
                PLAIN,
                [post("a", 1, 0, outcome="info"), reserve(1, ("a", 1, "r1", 1))],
                # Sent twice under two keys: two messages are two posts.
                [post("a", 1, 0), post("a", 2, 0, outcome="info"),
                 reserve(1, ("a", 1, "r1", 1), ("a", 2, "r2", 1))],
            ],
            bad=[
                [reserve(1, ("a", 1, "r1", 1))],
                [post("a", 1, 0, outcome="fail"), reserve(1, ("a", 1, "r1", 1))],
                [post("a", 1, 0), reserve(1, ("a", 2, "r1", 1))],
                [post("a", 1, 0, outcome="info"),
                 reserve(1, ("a", 1, "r1", 1), ("a", 2, "r2", 1))],
            ],
        )

    def test_order(self):
        two = [post("a", 1, 0), post("b", 2, 1)]
        self.expect(
            check.order,
            good=[
                two + [reserve(2, ("a", 1, "r1", 1)), reserve(3, ("b", 2, "r2", 1))],
                # Posted at the same time: either order.
                [post("a", 1, 0, t_ok=5), post("b", 2, 1),
                 reserve(6, ("b", 2, "r2", 1)), reserve(7, ("a", 1, "r1", 1))],
                # Delivered at the same time.
                two + [reserve(2, ("b", 2, "r2", 1), t_ok=4), reserve(3, ("a", 1, "r1", 1))],
                # An unknown reserve had taken a before: its count shows it.
                two + [reserve(2, outcome="info"), reserve(3, ("b", 2, "r2", 1)),
                       reserve(20, ("a", 1, "r3", 2))],
                # An unknown reserve had taken a, and was taken back with its count.
                two + [reserve(2, outcome="info"), reserve(3, ("b", 2, "r2", 1)),
                       reserve(4, ("a", 1, "r3", 1))],
                # A lapsed message comes again, before younger ones.
                two + [reserve(2, ("a", 1, "r1", 1)), reserve(15, ("a", 1, "r2", 2)),
                       reserve(16, ("b", 2, "r3", 1))],
            ],
            bad=[
                two + [reserve(2, ("b", 2, "r2", 1)), reserve(3, ("a", 1, "r1", 1))],
                two + [reserve(2, ("b", 2, "r2", 1), ("a", 1, "r1", 1))],
                # The unknown reserve came too late to excuse it.
                two + [reserve(2, ("b", 2, "r2", 1)), reserve(3, outcome="info"),
                       reserve(4, ("a", 1, "r3", 1))],
                # Or was over before a was posted, or is of another queue.
                [reserve(0, outcome="info"), post("a", 1, 50), post("b", 2, 51),
                 reserve(52, ("b", 2, "r2", 1)), reserve(53, ("a", 1, "r3", 1))],
                two + [reserve(2, outcome="info", queue="p"), reserve(3, ("b", 2, "r2", 1)),
                       reserve(4, ("a", 1, "r3", 1))],
                two + [post("c", 3, 2), reserve(3, ("a", 1, "r1", 1)),
                       reserve(4, ("c", 3, "r3", 1)), reserve(5, ("b", 2, "r2", 1))],
            ],
        )

    def test_one_holder(self):
        first = [post("a", 1, 0), reserve(1, ("a", 1, "r1", 1))]
        self.expect(
            check.one_holder,
            good=[
                first + [reserve(11.5, ("a", 1, "r2", 2))],
                first + [release(1, "r1", 2), reserve(2.2, ("a", 1, "r2", 2))],
                first + [release(1, "r1", 2, outcome="info"), reserve(3, ("a", 1, "r2", 2))],
                first + [touch(1, "r1", "r1b", 2), release(1, "r1", 3),
                         reserve(4, ("a", 1, "r2", 3))],
                first + [touch(1, "r1", "r1b", 9, outcome="info"),
                         reserve(12, ("a", 1, "r2", 2))],
                # A touch can make the lease shorter, and nobody knows of this one.
                first + [touch(1, "r1", None, 2, timeout_s=2, outcome="info"),
                         reserve(4.5, ("a", 1, "r2", 3))],
                first + [touch(1, "r1", "r1b", 2, timeout_s=2), reserve(4.5, ("a", 1, "r2", 3))],
            ],
            bad=[
                first + [reserve(5, ("a", 1, "r2", 2))],
                first + [touch(1, "r1", None, 2, timeout_s=2, outcome="info"),
                         reserve(3, ("a", 1, "r2", 3))],
                first + [touch(1, "r1", None, 2, timeout_s=2, outcome="fail"),
                         reserve(4.5, ("a", 1, "r2", 2))],
                first + [reserve(1.05, ("a", 1, "r2", 1))],
                first + [touch(1, "r1", "r1b", 9), reserve(12, ("a", 1, "r2", 3))],
                first + [release(1, "r1", 2, outcome="fail"), reserve(3, ("a", 1, "r2", 2))],
                # The third holder, while the second still holds.
                first + [reserve(12, ("a", 1, "r2", 2)), reserve(13, ("a", 1, "r3", 3))],
            ],
        )

    def test_ack_fenced(self):
        twice = [post("a", 1, 0), reserve(1, ("a", 1, "r1", 1)), reserve(12, ("a", 1, "r2", 2))]
        self.expect(
            check.ack_fenced,
            good=[
                twice + [ack(1, "r1", 13, outcome="fail"), ack(1, "r2", 14)],
                twice + [ack(1, "r1", 11.95)],
                # The second delivery was answered only after the ack was sent.
                twice[:2] + [reserve(12, ("a", 1, "r2", 2), t_ok=14), ack(1, "r1", 13)],
                twice[:2] + [touch(1, "r1", "r1b", 2), ack(1, "r1", 3)],
            ],
            bad=[
                twice + [ack(1, "r1", 13)],
                twice[:2] + [touch(1, "r1", "r1b", 2), reserve(15, ("a", 1, "r2", 3)),
                             ack(1, "r1b", 16)],
                twice + [reserve(25, ("a", 1, "r3", 3)), ack(1, "r2", 26)],
            ],
        )

    def test_dead_letters(self):
        begin = [DEAD, post("a", 1, 0), reserve(1, ("a", 1, "r1", 1)),
                 reserve(12, ("a", 1, "r2", 2))]
        dead = reserve(30, ("a", 1, "r3", 3), queue="dead")
        self.expect(
            check.dead_letters,
            good=[
                begin + [dead],
                begin + [ack(1, "r2", 13)],
                begin + [dead, ack(1, "r3", 31, queue="dead")],
                [DEAD, post("a", 1, 0, outcome="info"), dead],
            ],
            bad=[
                begin + [reserve(24, ("a", 1, "r3", 3))],
                begin[:3] + [reserve(30, ("a", 1, "r2", 2), queue="dead")],
                begin + [ack(1, "r2", 13), dead],
                [DEAD, dead],
                begin + [dead, reserve(40, ("a", 1, "r4", 2))],
            ],
        )

    def test_same_state(self):
        self.expect(
            check.same_state,
            good=[
                [chain(1, 5, "x"), chain(2, 5, "x"), chain(3, 5, "x")],
                [chain(1, 5, "x"), chain(2, 6, "y")],
                [chain(1, 5, "x"), chain(1, 5, "x")],
            ],
            bad=[
                [chain(1, 5, "x"), chain(2, 5, "y")],
                [chain(1, 5, "x"), chain(2, 5, "x"), chain(3, 5, "z")],
                [chain(1, 5, "x"), chain(2, 6, "y"), chain(3, 6, "z")],
            ],
        )

    def test_liveness(self):
        self.expect(
            check.liveness,
            good=[
                [kill(1), post("a", 1, 2), drained()],
                [drained()],
                [kill(1), post("a", 1, 1.5, outcome="info"), post("b", 2, 30), drained()],
            ],
            bad=[
                [drained("fail")],
                [post("a", 1, 0), kill(1), drained()],
                [kill(1), post("a", 1, 0.5, t_ok=4), drained()],
                [kill(1), post("a", 1, 2, outcome="info"), drained()],
            ],
        )


class Verdict(unittest.TestCase):
    """A run that could not fail is not called valid."""

    def test_a_quiet_run_is_unknown(self):
        result = check.judge(PLAIN + [drained()])
        self.assertEqual(result["verdict"], "unknown")
        self.assertIn("same_state had no opportunity", result["why_unknown"])

    def test_a_violation_beats_everything(self):
        self.assertEqual(check.judge(PLAIN + [ack(1, "r1", 3)])["verdict"], "violation")

    def test_many_unknown_outcomes_make_the_run_unknown(self):
        lines = PLAIN + [post(f"u{i}", 9, 5, outcome="info") for i in range(5)]
        self.assertIn("62.5% of the outcomes are unknown", check.judge(lines)["why_unknown"])

    def test_a_full_run_is_valid(self):
        lines = [
            DEAD, kill(0.5),
            post("a", 1, 1), post("b", 2, 2), post("c", 3, 3),
            reserve(4, ("a", 1, "r1", 1), ("b", 2, "r2", 1)),
            ack(1, "r1", 5), ack(1, "r1", 6, outcome="fail"),
            reserve(16, ("b", 2, "r3", 2), ("c", 3, "r4", 1)),
            ack(2, "r2", 17, outcome="fail"), ack(3, "r4", 17),
            reserve(40, ("b", 2, "r5", 3), queue="dead"),
            ack(2, "r5", 41, queue="dead"),
            chain(1, 9, "x"), chain(2, 9, "x"), drained(),
        ]
        result = check.judge(lines)
        self.assertEqual((result["verdict"], result["why_unknown"]), ("valid", []), result)
        self.assertEqual(result["recovery"]["leader"]["first_write_s_p50"], 0.6)

    def test_percentiles_take_a_value_that_occurred(self):
        self.assertEqual(check.percentile([3, 1, 2], 50), 2)
        self.assertEqual(check.percentile(range(1, 101), 99), 99)
        self.assertEqual(check.percentile([5], 99), 5)


if __name__ == "__main__":
    unittest.main()
