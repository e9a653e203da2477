"""The judge of refusals on planted answers: one table row per rule."""

import unittest

import refusals
from refusals import UNSENT, Answer, Phase, Span


def span(kind, victims, nodes, healed=1.0):
    """A fault from second 10 to second 20."""
    return Span(Phase(kind, victims, 10), nodes, 8.0, 10.0, 20.0, 22.0,
                {1: 1.0, 2: 1.0, 3: healed}, 0)


def post(node, at, status=201, text="", seconds=0.01):
    return Answer("post", node, at, at + seconds, status, text)


def ack(node, at):
    return Answer("ack", node, at, at + 0.01, 200, "Deleted")


LOW = span("low", "follower", [2])
FULL = span("full", "majority", [1, 2])
STOPPED = span("stopped", "followers", [2, 3])
GOOD_LOW = [post(2, 12, 503, "disk"), ack(2, 13), post(1, 18)]
GOOD_FULL = [post(1, 12), post(3, 13, 500, "unknown")]
GOOD_STOPPED = [post(1, 12, 503, "no leader"), post(1, 9)]


class Judge(unittest.TestCase):
    def violations(self, span, answers):
        return refusals.judge_span(span, answers)[0]

    def test_good_spans_are_valid(self):
        for good, answers in [(LOW, GOOD_LOW), (FULL, GOOD_FULL), (STOPPED, GOOD_STOPPED)]:
            self.assertEqual(refusals.judge_span(good, answers)[:2], ([], False), good.phase.name)

    def test_planted_faults_are_found(self):
        rows = [
            ("slow answer", FULL, [post(3, 12, 500, "unknown", 5.1)], "over 5.0 s"),
            ("no msg", FULL, [post(3, 12, 503)], "without a msg"),
            ("wrong status", FULL, [post(3, 12, 404, "Queue not found")], "answered 404"),
            ("acknowledged alone", STOPPED, [post(1, 12)], "without a majority"),
            ("no heal", span("full", "majority", [1, 2], None), GOOD_FULL, "took no post"),
            ("others stop", LOW, GOOD_LOW[:2], "stopped posts on the others"),
            ("others stop later", LOW, [*GOOD_LOW[:2], post(1, 14)], "stopped posts on the others"),
            ("no acks", LOW, [GOOD_LOW[0], GOOD_LOW[2]], "acknowledging did not go on"),
        ]
        for name, of, answers, wanted in rows:
            found = self.violations(of, answers)
            self.assertTrue(any(wanted in text for text in found), f"{name}: {found}")

    def test_a_fault_that_nobody_felt_did_not_show(self):
        self.assertTrue(refusals.judge_span(LOW, [ack(2, 13), post(2, 18), post(1, 18)])[1])

    def test_a_frozen_request_is_not_slow(self):
        held = post(2, 9.9, None, "reset", 15)
        self.assertEqual(self.violations(STOPPED, [*GOOD_STOPPED, held]), [])

    def test_outcomes(self):
        rows = [((201, ""), "ok"), ((503, "x"), "fail"), ((500, "x"), "info"),
                ((None, UNSENT), "fail"), ((None, "reset"), "info")]
        for (status, text), wanted in rows:
            self.assertEqual(post(1, 1, status, text).outcome, wanted)


if __name__ == "__main__":
    unittest.main()
