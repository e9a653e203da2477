"""What requests heard while a fault was there, judged phase by phase.

Not here: the faults (`full_disk.py`), and what became of the messages (`check.py`). Rules: every
answer comes within ANSWER_S and is one that the API page knows; a refusal says what; without a
majority nothing is acknowledged; a follower's disk does not stop the others, and a low disk not
the acknowledging; every node takes posts again within HEAL_S of the end of the cause.
"""

from typing import NamedTuple

ANSWER_S = 5.0
HEAL_S = 30.0
# `Answer.text` where the connection was refused: the request certainly reached nobody.
UNSENT = "connection refused"


class Phase(NamedTuple):
    """One fault. `kind`: low, full, stopped, killed; `victims`: whose disk or process."""

    kind: str
    victims: str
    seconds: float

    @property
    def name(self):
        return f"{self.kind}: {self.victims}"

    @property
    def fills(self):
        return self.kind in ("low", "full")


class Answer(NamedTuple):
    """What one request heard. `status` is None when nothing answered; `text` says why."""

    verb: str
    node: int
    t_inv: float
    t_ok: float
    status: int | None
    text: str

    @property
    def outcome(self):
        """As in a history: ok, fail (certainly not done), info (nobody knows)."""
        if self.status in (200, 201):
            return "ok"
        if self.status is None:
            return "fail" if self.text == UNSENT else "info"
        return "info" if self.status == 500 else "fail"


class Span(NamedTuple):
    """What is known of a phase that was run."""

    phase: Phase
    victims: list
    began: float  # before the fault
    faulted: float  # the fault is there
    removed: float  # its cause is gone
    ended: float
    healed_s: dict  # node to seconds from `removed`, None when over HEAL_S
    process_ends: int


def judge_span(span, answers):
    """Violations of one phase, what it did not show, and its figures."""
    phase, victims = span.phase, span.victims
    mine = [a for a in answers if span.began <= a.t_inv < span.ended and not frozen(span, a)]
    during = [a for a in mine if span.faulted <= a.t_inv < span.removed]
    posts = [a for a in during if a.verb == "post"]
    refused = [a for a in during if a.outcome != "ok"]
    wrong = count_by(text for a in mine if (text := improper(a)))
    violations = [f"{count} times: {text}" for text, count in wrong.items()]
    slow = [a for a in mine if a.t_ok - a.t_inv > ANSWER_S]
    if slow:
        worst = max(slow, key=lambda a: a.t_ok - a.t_inv)
        violations.append(f"{len(slow)} requests took over {ANSWER_S} s, the longest "
                          f"{worst.t_ok - worst.t_inv:.1f} s: {worst[:2]} {worst[4:]}")
    violations += unserved(span, posts, during)
    violations += [f"node {node} took no post within {HEAL_S} s of the end of the cause"
                   for node, seconds in span.healed_s.items() if seconds is None]
    where = victims if phase.kind == "low" else range(1, 4)
    shown = any(a.node in where for a in refused)
    return [f"{phase.name}: {text}" for text in violations], not shown, {
        "nodes": victims,
        "answers_s_max": round(max((a.t_ok - a.t_inv for a in mine), default=0), 2),
        "posts_acknowledged": sum(a.outcome == "ok" for a in posts),
        "heard": count_by(f"{a.status or ''} {a.text[:40]}".strip() for a in refused),
        "healed_s": span.healed_s,
        "process_ends": span.process_ends,
    }


def frozen(span, answer):
    """A request that was under way on a node when it was stopped."""
    return (span.phase.kind == "stopped" and answer.node in span.victims
            and answer.t_ok >= span.faulted and answer.t_inv < span.removed)


def improper(answer):
    """What is wrong with an answer itself, or None."""
    status, verb = answer.status, answer.verb
    if status in (None, 200, 201) or (verb in ("ack", "ballast") and status in (403, 404)):
        return None
    if status not in (500, 503):
        return f"{verb} on node {answer.node} was answered {status} {answer.text}"
    return None if answer.text else f"{verb} on node {answer.node}: {status} without a msg"


def unserved(span, posts, during):
    """Who must go on in this phase and did not, and who must not and did."""
    phase, victims = span.phase, span.victims
    accepted = [a for a in posts if a.outcome == "ok"]
    if not phase.fills:
        return [f"node {a.node} acknowledged a post without a majority" for a in accepted[:1]]
    violations = []
    half = (span.faulted + span.removed) / 2
    others = [a for a in accepted if a.node not in victims and a.t_inv > half]
    if phase.victims == "follower" and not others:
        violations.append("a follower's disk stopped posts on the others")
    acked = {a.node for a in during if a.verb == "ack" and a.outcome == "ok"}
    if phase.kind == "low" and phase.victims != "all" and not set(victims) <= acked:
        violations.append(f"acknowledging did not go on at {sorted(set(victims) - acked)}")
    return violations


def count_by(texts):
    found = {}
    for text in texts:
        found[text] = found.get(text, 0) + 1
    return found
