"""Many clients in one thread: HTTP/1.1 on kept connections, with asyncio.

Not here: what is asked, and any judgement. Every request has a deadline; a connection that broke
is opened anew by the next request on it.
"""

import asyncio
import json
import resource
import urllib.parse
import uuid

from clients import clusters

ANSWER_BYTES_MAX = 64 << 20
# How long a keyed request is sent again before the cluster counts as not serving.
SURE_S = 60
AGAIN_S = 0.05
# The program's own files and those of Python, beside the connections.
OTHER_FILES = 200


def room_for(connections):
    """Raises the limit of open files, also for the nodes that are started afterwards."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OTHER_FILES
    if most != resource.RLIM_INFINITY and most < needed:
        raise clusters.Failed(f"{needed} open files are needed and {most} allowed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Client:
    """One connection to one node; one request at a time, the others wait for their turn."""

    def __init__(self, url, token):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.fixed = (f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
                      "Content-Type: application/json\r\n")
        self.reader = self.writer = None
        self.turn = asyncio.Lock()

    async def ask(self, method, path, body=None, key=None, limit_s=30.0):
        """One request. Raises `Unsent` or `Unknown`, never guesses."""
        async with self.turn:
            return await self.ask_now(method, path, body, key, limit_s)

    async def ask_now(self, method, path, body, key, limit_s):
        try:
            await asyncio.wait_for(self.connect(), limit_s)
        except (OSError, asyncio.TimeoutError) as error:
            raise clusters.Unsent(f"{self.host}:{self.port}: {error!r}") from error
        try:
            exchange = self.exchange(self.head_and_body(method, path, body, key))
            return await asyncio.wait_for(exchange, limit_s)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            self.close()
            raise clusters.Unknown(f"{method} {path}: {error!r}") from error

    async def sure(self, method, path, body=None):
        """A keyed request, sent again until its outcome is known: status 200 or 201."""
        key = uuid.uuid4().hex
        deadline = asyncio.get_running_loop().time() + SURE_S
        while True:
            try:
                answer = await self.ask(method, path, body, key)
                if answer.status in (200, 201):
                    return answer.body
                problem = f"{method} {path}: {answer}"
                if answer.status not in (500, 503):
                    raise clusters.Failed(problem)
            except (clusters.Unsent, clusters.Unknown) as error:
                problem = str(error)
            if asyncio.get_running_loop().time() > deadline:
                raise clusters.Failed(f"no outcome within {SURE_S} s: {problem}")
            await asyncio.sleep(AGAIN_S)

    def head_and_body(self, method, path, body, key):
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        keyed = "" if key is None else f"Idempotency-Key: {key}\r\n"
        head = f"{method} {path} HTTP/1.1\r\n{self.fixed}{keyed}Content-Length: {len(content)}"
        return head.encode() + b"\r\n\r\n" + content

    async def connect(self):
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)

    async def exchange(self, request):
        self.writer.write(request)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
        length = int(fields["content-length"]) if "content-length" in fields else 0
        if length > ANSWER_BYTES_MAX:
            raise ValueError(f"an answer of {length} bytes")
        text = await self.reader.readexactly(length)
        if "close" in fields.get("connection", ""):
            self.close()
        return clusters.Answer(int(head[0].split()[1]), json.loads(text) if text else None)

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.reader = self.writer = None
