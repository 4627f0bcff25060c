"""A small Hugging Face hub on a port of this machine, as far as `huggingface_hub` asks for commits and their files."""

import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from urllib.parse import unquote

from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

# larger files are Git LFS files, as the hub asks for
SMALL = 2000
URL = re.compile(
    r"/api/(?P<kind>model|dataset)s/(?P<api>.+)/tree/(?P<tree>\w+)"
    r"|/(?P<datasets>datasets/)?(?P<name>.+)/resolve/(?P<commit>\w+)/(?P<file>.+)"
)
LOGIN_PAGE = b"<!doctype html><title>Welcome to the airport</title><p>Please log in."
# answers that are errors, by the fault that is switched on
STATUS = {
    "unauthorized": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
    "gated": (403, {"X-Error-Code": "GatedRepo"}),
    "limited": (429, {"Retry-After": "7"}),
    "error": (500, {}),
}


def commit(digit):
    """A commit id: a digit, 40 times."""
    return str(digit) * 40


class Hub:
    """The hub's content and state.

    Attributes:
        repositories: {(kind, name): {commit: {path: bytes}}}.
        fault: a key of `STATUS`; `page` for a login page instead of every answer; or None.
        resets: how many requests from now on get no answer, but a closed connection.
        cut: after how many bytes of each answer with a file the connection breaks; None: never.
        swapped: the body of every file, in place of its content; None: its content.
        requests: (method, path) of every request.
        waits: seconds that the client would have waited before it tried again.
    """

    def __init__(self):
        self.repositories, self.requests, self.waits = {}, [], []
        self.fault, self.cut, self.swapped, self.resets = None, None, None, 0
        self.server = None
        self.up()
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def add(self, kind, name, commit, files):
        """Add a commit; `files` is {path: bytes}, or a folder."""
        if not isinstance(files, dict):
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*.*")}
        self.repositories.setdefault((kind, name), {})[commit] = files

    def up(self):
        port = self.server.server_address[1] if self.server else 0
        self.server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def down(self):
        """Close the port: connections are refused."""
        self.server.shutdown()
        self.server.server_close()

    def downloads(self):
        """The paths of the files that were sent, whole or in part."""
        paths = [path for method, path in self.requests if method == "GET" and "/resolve/" in path]
        return [path.partition("/resolve/")[2].partition("/")[2] for path in paths]


@contextmanager
def running(monkeypatch, cache):
    """A hub that the client of this process asks, with its own cache; the client does not wait before it tries again."""
    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=hub.waits.append))
    try:
        yield hub
    finally:
        _http.close_session()
        hub.down()


def offline(monkeypatch):
    """As with HF_HUB_OFFLINE=1."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def switch(hub, state, monkeypatch):
    """Set the hub's state: `up`, `down`, `offline`, or a fault."""
    if state == "offline":
        offline(monkeypatch)
    elif state == "down":
        hub.down()
    elif state != "up":
        hub.fault = state


def blob_id(content):
    """Git's id of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _is_lfs(content):
    return len(content) > SMALL


def _pointer(content):
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def _entry(path, content):
    """A file in a listing."""
    entry = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
    if _is_lfs(content):
        pointer = _pointer(content)
        lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": len(pointer)}
        entry |= {"oid": blob_id(pointer), "lfs": lfs}
    return entry


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def log_message(self, *arguments):
            pass

        def answer(self):
            path = unquote(self.path.split("?")[0])
            hub.requests.append((self.command, path))
            if hub.resets:
                hub.resets -= 1
                return None
            if hub.fault == "page":
                return self.send(200, LOGIN_PAGE, {"Content-Type": "text/html"})
            if hub.fault:
                return self.send(STATUS[hub.fault][0], b"", STATUS[hub.fault][1])
            match = URL.fullmatch(path)
            kind = match["kind"] or ("dataset" if match["datasets"] else "model")
            commits = hub.repositories.get((kind, match["api"] or match["name"]))
            if commits is None:
                return self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
            files = commits.get(match["tree"] or match["commit"])
            if files is None:
                return self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            if match["tree"]:
                listing = [_entry(path, content) for path, content in files.items()]
                return self.send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
            if match["file"] not in files:
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            self.send_file(files[match["file"]], match["commit"])

        def send_file(self, content, commit):
            headers = {"X-Repo-Commit": commit, "ETag": f'"{blob_id(content)}"'}
            if _is_lfs(content):
                digest = hashlib.sha256(content).hexdigest()
                headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            if hub.swapped is not None and self.command == "GET":
                content = hub.swapped
            first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if not first:
                return self.send(200, content, headers, hub.cut)
            rest = content[int(first[1]) :]
            headers["Content-Range"] = f"bytes {first[1]}-{len(content) - 1}/{len(content)}"
            self.send(206, rest, headers, hub.cut)

        def send(self, status, body, headers, cut=None):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:cut])

    return Handler
