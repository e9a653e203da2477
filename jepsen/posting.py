"""Messages that no compression makes smaller: posted under load, and all looked for at the end.

Not here: when who posts (`catchup.py`). A post keeps its place: what one client posted later, or
anybody after it was acknowledged, is delivered later. So one pass over a drained queue finds what
is lost, doubled, changed or out of order.
"""

import base64
import collections
import random
import uuid
import zlib

import clients
from clients import clusters

POOL_BYTES = 6 << 20
SPOT_CHECKS = 200
TAKEN_MAX = 100
REQUEST_S = 30

# One message that was posted: `known` is false when nobody knows whether it was.
Post = collections.namedtuple("Post", "queue uid number id size t_inv t_ok known")
# What a client posts: into which queue, how many at once, how large.
Shape = collections.namedtuple("Shape", "queue batch body_bytes")


class Bodies:
    """Bodies that do not compress and that their uid alone makes again."""

    def __init__(self, seed):
        noise = random.Random(seed).randbytes(POOL_BYTES)
        self.pool = base64.b64encode(noise).decode()

    def make(self, uid, size):
        start = zlib.crc32(uid.encode()) % (len(self.pool) - size)
        return f"{uid} {self.pool[start:start + size - len(uid) - 1]}"


class Poster(clients.Worker):
    """Posts one batch after the other, each under a key until its outcome is known."""

    def __init__(self, run, number, shape, stopping):
        super().__init__(run, number)
        self.shape, self.stopping = shape, stopping
        self.count = 0

    def work(self):
        while not self.stopping.is_set():
            self.post()

    def post(self):
        queue, batch, size = self.shape
        numbers = range(self.count, self.count + batch)
        self.count += batch
        uids = [f"c{self.number}-{number}" for number in numbers]
        body = {"messages": [{"body": self.shared.bodies.make(uid, size)} for uid in uids]}
        fields, answer = self.call("post", "POST", f"/{queue}/messages", body, keyed=True)
        ids = answer["ids"] if answer else [None] * batch
        self.shared.note_posts([
            Post(queue, uid, number, message, size, fields["t_inv"], fields["t_ok"],
                 fields["outcome"] == "ok")
            for uid, number, message in zip(uids, numbers, ids)
        ])


class Finder:
    """Looks through one node for what was posted to the cluster."""

    def __init__(self, run, url):
        self.run, self.url = run, url
        self.token, self.base = run.cluster.info["token"], run.cluster.queues_path

    def ask(self, method, path, body=None):
        key = uuid.uuid4().hex if method != "GET" else None
        answer = clusters.request(
            self.url, method, self.base + path, self.token, body, key, REQUEST_S)
        if answer.status not in (200, 404):
            raise clusters.Failed(f"{method} {path}: {answer}")
        return answer

    def count(self, queue):
        """The size of a queue against what was acknowledged."""
        posts = [post for post in self.run.posts if post.queue == queue]
        least = sum(post.known for post in posts)
        size = self.ask("GET", f"/{queue}").body["queue"]["size"]
        self.run.check(f"(c) {queue} holds every message", least <= size <= len(posts),
                       f"{size} of {least} acknowledged, {len(posts) - least} unknown")

    def spot_check(self):
        """Reads some of the acknowledged messages by id."""
        known = [post for post in self.run.posts if post.known]
        chosen, wrong = self.run.random.sample(known, min(SPOT_CHECKS, len(known))), []
        for post in chosen:
            found = self.ask("GET", f"/{post.queue}/messages/{post.id}")
            body = found.body["message"]["body"] if found.status == 200 else None
            if body != self.run.bodies.make(post.uid, post.size):
                wrong.append(f"{post.uid} ({post.id}): {str(body)[:40]}")
        self.run.check("(c) acknowledged messages are as they were posted", not wrong,
                       wrong[:3] or f"{len(chosen)} looked at")

    def drain(self, queue):
        """Takes everything out of a queue; every message once, whole, and in order."""
        posts = {post.uid: post for post in self.run.posts if post.queue == queue}
        bodies = []
        while True:
            found = self.ask(
                "POST", f"/{queue}/reservations", {"n": TAKEN_MAX, "timeout": 120})
            messages = found.body["messages"]
            if not messages:
                break
            bodies += [message["body"] for message in messages]
            gone = [{"id": m["id"], "reservation_id": m["reservation_id"]} for m in messages]
            self.ask("DELETE", f"/{queue}/messages", {"ids": gone})
        wrong = delivery_faults(posts, bodies, self.run.bodies)
        self.run.check(f"(c) {queue}: every message once, whole, in order", not wrong,
                       wrong[:3] or f"{len(bodies)} messages")


def delivery_faults(posts, delivered, bodies):
    """What is wrong with the bodies a queue gave, in the order it gave them; uid to post."""
    newest_sent, newest_number, seen, wrong = 0.0, {}, set(), []
    for body in delivered:
        uid = body.split(" ", 1)[0]
        post, client = posts.get(uid), uid.split("-")[0]
        if post is None or uid in seen:
            wrong.append(f"{uid} was delivered, {'twice' if post else 'and never posted'}")
            continue
        seen.add(uid)
        if body != bodies.make(uid, post.size):
            wrong.append(f"{uid} has another body")
        # Acknowledged before an earlier delivered one was even sent, or behind its own client.
        if post.t_ok < newest_sent or post.number < newest_number.get(client, 0):
            wrong.append(f"{uid} came too late")
        newest_sent = max(newest_sent, post.t_inv)
        newest_number[client] = post.number
    return wrong + [f"{uid} is gone" for uid, post in posts.items()
                    if post.known and uid not in seen]
