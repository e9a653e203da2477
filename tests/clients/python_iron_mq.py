"""The unmodified `iron-mq` 0.9 from PyPI drives every pull-queue method on every node.

Each method is called on each of three nodes and its answer compared. Methods for push queues,
subscribers and alerts must be answered with 400 and a message that says why. `queues()` of 0.9
fails inside the library on Python 3 (it calls a function that only Python 2 had): asserted, too,
and the same listing is asked through the library's own HTTP client.
"""

import argparse
import pathlib
import sys
import time

import requests
from iron_mq import IronMQ

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cluster as clusters  # noqa: E402

DIGITS = set("0123456789")
HEX = set("0123456789abcdef")


def refused(status, call, *arguments, text=None, **named):
    """Asserts that `call` is answered with `status` and a readable `msg`."""
    try:
        answer = call(*arguments, **named)
    except requests.HTTPError as error:
        response = error.response
        assert response.status_code == status, f"{response.status_code} {response.text}"
        assert response.headers["Content-Type"] == "application/json", response.headers
        message = response.json()["msg"]
        assert message and (text is None or text in message), message
        return message
    raise AssertionError(f"{call.__name__} was answered with {answer}, not refused")


def bodies(answer):
    return [message["body"] for message in answer["messages"]]


def is_message_id(value):
    return isinstance(value, str) and len(value) == 19 and set(value) <= DIGITS


def is_reservation_id(value):
    return isinstance(value, str) and len(value) == 32 and set(value) <= HEX


class Suite:
    """All checks through one node; each test uses queues of its own."""

    def __init__(self, url, info, node):
        parts = url.removeprefix("http://").split(":")
        self.mq = IronMQ(
            protocol="http",
            host=parts[0],
            port=int(parts[1]),
            project_id=info["project_id"],
            token=info["token"],
        )
        self.node = node

    def queue(self, name):
        """A queue that does not exist yet."""
        queue = self.mq.queue(f"py-{self.node}-{name}")
        try:
            queue.delete_queue()
        except requests.HTTPError as error:
            assert error.response.status_code == 404, error.response.text
        return queue

    # ---- queues -------------------------------------------------------------------------------

    def test_create_info_update_delete(self):
        queue = self.queue("life")
        refused(404, queue.info, text="Queue not found")
        made = self.mq.create_queue(queue.name, {"message_timeout": 90, "message_expiration": 3600})
        assert made["name"] == queue.name and made["type"] == "pull", made
        assert (made["message_timeout"], made["message_expiration"]) == (90, 3600), made
        assert "size" not in made and len(made["project_id"]) == 24, made
        info = queue.info()
        assert (info["size"], info["total_messages"]) == (0, 0), info
        assert queue.update({"message_timeout": 30})["message_timeout"] == 30
        assert self.mq.update_queue(queue.name)["message_expiration"] == 3600
        assert self.mq.getQueueDetails(queue.name)["message_timeout"] == 30
        assert queue.delete_queue()["msg"] == "Deleted."
        refused(404, queue.delete_queue, text="Queue not found")

    def test_create_with_defaults(self):
        made = self.mq.create_queue(self.queue("defaults").name)
        assert (made["message_timeout"], made["message_expiration"]) == (60, 604800), made

    def test_id_is_not_part_of_version_3(self):
        queue = self.queue("id")
        self.mq.create_queue(queue.name)
        try:
            queue.id()
            raise AssertionError("version 3 has no queue ids")
        except KeyError:
            pass  # the library expects a field that only version 1 had

    def test_size_and_total(self):
        queue = self.queue("size")
        queue.post("a", "b", {"body": "c", "delay": 3600})
        assert queue.size() == 3, "reserved and delayed messages count"
        reserved = queue.reserve(max=1)["messages"][0]
        assert queue.size() == 3
        queue.delete(reserved["id"], reserved["reservation_id"])
        assert (queue.size(), queue.total_messages()) == (2, 3)

    def test_listing(self):
        for name in ("list-a", "list-b", "list-c"):
            self.mq.create_queue(self.queue(name).name)
        try:
            self.mq.queues()
            raise AssertionError("0.9 is known to fail here on Python 3")
        except AttributeError:
            pass
        try:
            self.mq.getQueues()
            raise AssertionError("0.9 is known to fail here on Python 3")
        except AttributeError:
            pass
        prefix = f"py-{self.node}-list-"
        page = self.mq.client.get(f"queues?prefix={prefix}&per_page=2")["body"]["queues"]
        assert page == [{"name": prefix + "a"}, {"name": prefix + "b"}], page
        rest = f"queues?prefix={prefix}&previous={prefix}b"
        assert self.mq.client.get(rest)["body"]["queues"] == [{"name": prefix + "c"}]

    # ---- messages -----------------------------------------------------------------------------

    def test_post_forms(self):
        queue = self.queue("post")
        one = queue.post("one")
        assert one["msg"] == "Messages put on queue." and len(one["ids"]) == 1, one
        two = queue.post({"body": "two"}, "three")
        ids = one["ids"] + two["ids"]
        assert all(is_message_id(message_id) for message_id in ids), ids
        assert ids == sorted(ids) and len(set(ids)) == 3, ids
        assert self.mq.postMessage(queue.name, ["four"])["ids"]
        assert bodies(queue.peek(max=10)) == ["one", "two", "three", "four"]

    def test_bodies_come_back_unchanged(self):
        queue = self.queue("bodies")
        texts = ["", "ü☃𝄞", "\n\t\\\"{}", "x" * 60_000, "\u0000 zero"]
        queue.post(*texts)
        assert bodies(queue.reserve(max=5)) == texts

    def test_hundred_at_once_keep_their_order(self):
        queue = self.queue("hundred")
        texts = [f"{number}" for number in range(100)]
        queue.post(*texts)
        assert bodies(queue.reserve(max=100)) == texts

    def test_reserve_and_get(self):
        queue = self.queue("reserve")
        queue.post("a", "b", "c")
        first = queue.reserve()["messages"]
        assert len(first) == 1 and first[0]["body"] == "a", first
        assert first[0]["reserved_count"] == 1 and is_reservation_id(first[0]["reservation_id"])
        assert bodies(queue.get(max=1, timeout=60)) == ["b"]
        assert bodies(self.mq.getMessage(queue.name, max=5)) == ["c"]
        assert queue.reserve() == {"messages": []}
        refused(400, queue.reserve, max=101)
        refused(404, self.mq.queue(f"py-{self.node}-none").reserve, text="Queue not found")

    def test_reserve_and_delete_at_once(self):
        queue = self.queue("pop")
        queue.post("a")
        assert bodies(queue.reserve(delete=True)) == ["a"]
        assert queue.size() == 0

    def test_wait_ends_empty_or_with_a_message(self):
        queue = self.queue("wait")
        self.mq.create_queue(queue.name)
        began = time.monotonic()
        assert queue.reserve(wait=1) == {"messages": []}
        assert 0.9 <= time.monotonic() - began < 5
        queue.post({"body": "late", "delay": 1})
        assert bodies(queue.reserve(wait=10)) == ["late"], "the delay ends inside the wait"

    def test_get_by_id_and_peek_change_nothing(self):
        queue = self.queue("peek")
        ids = queue.post("a", "b", {"body": "later", "delay": 3600})["ids"]
        assert queue.get_message_by_id(ids[0]) == {"id": ids[0], "body": "a", "reserved_count": 0}
        assert queue.get_message_by_id(ids[2])["body"] == "later"
        assert bodies(queue.peek()) == ["a"] and bodies(queue.peek(max=9)) == ["a", "b"]
        queue.reserve()
        assert bodies(queue.peek(max=9)) == ["b"], "reserved messages are not shown"
        assert queue.get_message_by_id(ids[0])["reserved_count"] == 1
        refused(404, queue.get_message_by_id, "1000000000000000000", text="Message not found")

    def test_touch(self):
        queue = self.queue("touch")
        queue.post("a")
        message = queue.reserve(timeout=30)["messages"][0]
        touched = queue.touch(message["id"], message["reservation_id"], timeout=60)
        assert touched["msg"] == "Touched", touched
        assert is_reservation_id(touched["reservation_id"])
        assert touched["reservation_id"] != message["reservation_id"]
        assert queue.get_message_by_id(message["id"])["reserved_count"] == 2
        refused(403, queue.touch, message["id"], "0" * 32)
        assert queue.delete(message["id"], touched["reservation_id"])["msg"] == "Deleted"
        refused(404, queue.touch, message["id"], touched["reservation_id"])

    def test_delete_under_the_id_from_before_a_touch(self):
        queue = self.queue("lineage")
        queue.post("a")
        message = queue.reserve(timeout=30)["messages"][0]
        queue.touch(message["id"], message["reservation_id"])
        assert queue.delete(message["id"], message["reservation_id"])["msg"] == "Deleted"

    def test_release(self):
        queue = self.queue("release")
        queue.post("a", "b")
        message = queue.reserve()["messages"][0]
        assert queue.release(message["id"], message["reservation_id"])["msg"] == "Released"
        refused(403, queue.release, message["id"], message["reservation_id"])
        again = queue.reserve()["messages"][0]
        assert again["body"] == "a" and again["reserved_count"] == 2, "back at its old place"
        queue.release(again["id"], again["reservation_id"], delay=2)
        assert bodies(queue.reserve(max=2)) == ["b"], "not before its delay"
        assert bodies(queue.reserve(wait=10)) == ["a"]

    def test_lapse(self):
        queue = self.queue("lapse")
        queue.post("a", "b")
        message = queue.reserve(timeout=1)["messages"][0]
        again = queue.reserve(max=1)["messages"][0]
        assert again["body"] == "b"
        back = queue.reserve(wait=10)["messages"][0]
        assert (back["body"], back["reserved_count"]) == ("a", 2), back
        refused(403, queue.delete, message["id"], message["reservation_id"])
        assert queue.delete(back["id"], back["reservation_id"])["msg"] == "Deleted"

    def test_delete_one(self):
        queue = self.queue("delete")
        ids = queue.post("a", "b", "c")["ids"]
        assert queue.delete(ids[2])["msg"] == "Deleted", "a free message needs no reservation"
        assert self.mq.deleteMessage(queue.name, ids[1])["msg"] == "Deleted"
        message = queue.reserve()["messages"][0]
        refused(400, queue.delete, message["id"], text="A reservation_id is required")
        refused(403, queue.delete, message["id"], "f" * 32)
        assert queue.delete(message["id"], message["reservation_id"])["msg"] == "Deleted"
        refused(404, queue.delete, message["id"], message["reservation_id"], text="Message not found")

    def test_delete_many(self):
        queue = self.queue("many")
        ids = queue.post("a", "b", "c", "d")["ids"]
        held = queue.reserve(max=2)
        refused(400, queue.delete_multiple, ids=ids)
        assert queue.size() == 4, "all or nothing"
        assert queue.delete_multiple(messages=held)["msg"] == "Deleted"
        assert queue.delete_multiple(ids=ids[1:])["msg"] == "Deleted", "the gone one is skipped"
        refused(404, queue.delete_multiple, ids=ids)
        assert queue.delete_multiple(ids=[])["msg"] == "Deleted", "an empty list clears nothing"

    def test_clear(self):
        queue = self.queue("clear")
        queue.post("a", "b", {"body": "c", "delay": 60})
        queue.reserve()
        assert queue.clear()["msg"] == "Cleared"
        assert queue.size() == 0
        queue.post("d")
        assert self.mq.clearQueue(queue.name)["msg"] == "Cleared"
        assert bodies(queue.reserve()) == []

    def test_dead_letters(self):
        queue, dead = self.queue("dying"), self.queue("dead")
        options = {"dead_letter": {"queue_name": dead.name, "max_reservations": 2}}
        assert self.mq.create_queue(queue.name, options)["dead_letter"] == options["dead_letter"]
        message_id = queue.post("poison")["ids"][0]
        for count in (1, 2):
            message = queue.reserve()["messages"][0]
            assert message["reserved_count"] == count
            queue.release(message["id"], message["reservation_id"])
        assert bodies(queue.reserve()) == []
        found = dead.peek()["messages"][0]
        assert found == {"id": message_id, "body": "poison", "reserved_count": 2}, found

    # ---- not in this version ------------------------------------------------------------------

    def test_push_and_alerts_are_refused_clearly(self):
        queue = self.queue("pull")
        message_id = queue.post("a")["ids"][0]
        subscriber = {"name": "s", "url": "http://127.0.0.1:9/"}
        alert = {"type": "fixed", "direction": "asc", "trigger": 5, "queue": "alerts"}
        refused(400, queue.add_subscribers, subscriber)
        refused(400, queue.replace_subscribers, subscriber)
        refused(400, queue.remove_subscribers, "s")
        refused(400, queue.get_message_push_statuses, message_id)
        refused(400, queue.add_alerts, alert)
        refused(400, queue.update_alerts, alert)
        refused(400, queue.remove_alerts, {"id": "0" * 24})
        for kind in ("unicast", "multicast"):
            name = self.queue("push").name
            push = {"type": kind, "push": {"subscribers": [subscriber]}}
            refused(400, self.mq.create_queue, name, push)
            refused(404, self.mq.queue(name).info)
        assert bodies(queue.peek()) == ["a"], "nothing was changed"

    # ---- rights -------------------------------------------------------------------------------

    def test_rights(self):
        client = self.mq.client
        stranger = IronMQ(
            protocol="http", host=client.host, port=client.port,
            project_id=client.project_id, token="no-such-token",
        )
        refused(401, stranger.queue("any").info)
        elsewhere = IronMQ(
            protocol="http", host=client.host, port=client.port,
            project_id="f" * 24, token=client.token,
        )
        refused(403, elsewhere.queue("any").info)


def run(suite):
    """Runs every `test_` method; returns how many passed and the failures."""
    passed, failures = 0, []
    for name in [name for name in dir(suite) if name.startswith("test_")]:
        try:
            getattr(suite, name)()
            passed += 1
        except (AssertionError, requests.RequestException, KeyError, IndexError) as error:
            failures.append(f"node {suite.node} {name}: {type(error).__name__}: {error}")
    return passed, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    options = parser.parse_args()
    passed, failures = 0, []
    with clusters.Cluster(options.binary, options.dir, fresh=True) as cluster:
        for node in cluster.info["nodes"]:
            more, failed = run(Suite(node["http"], cluster.info, node["id"]))
            print(f"    node {node['id']}: {more} passed, {len(failed)} failed", flush=True)
            passed += more
            failures += failed
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"iron-mq: {passed} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
