"""WebKitGTK's browser, spoken to by WebDriver over HTTP; no library."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DRIVER, SCREEN = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
BROWSER = next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-*/MiniBrowser"))), None)
MISSING = None
if not (DRIVER and BROWSER):
    MISSING = "no WebKitWebDriver with its MiniBrowser; `apt-get install webkit2gtk-driver` brings both"
elif not (SCREEN or os.environ.get("DISPLAY")):
    MISSING = "no display for WebKit; `apt-get install xvfb` brings one"
TIMEOUT = 60  # seconds


class WebKit:
    """A session of the browser."""

    def __init__(self, address: str):
        self.address = address
        options = {"binary": str(BROWSER), "args": ["--automation"]}
        wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        self.session = self("POST", "/session", wanted)["sessionId"]

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, page: Path) -> None:
        """Load a page and wait until it is ready or has an error."""
        self("POST", f"/session/{self.session}/url", {"url": page.resolve().as_uri()})
        end = time.monotonic() + TIMEOUT
        while not self.run("return document.documentElement.dataset.ready || document.querySelector('.error')"):
            assert time.monotonic() < end, "not ready"
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """What the body of a function returns."""
        return self("POST", f"/session/{self.session}/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        """What the body of a function with the argument `done` passes to it."""
        body = {"script": f"const done = arguments[0];{script}", "args": []}
        return self("POST", f"/session/{self.session}/execute/async", body)

    def close(self) -> None:
        self("DELETE", f"/session/{self.session}")


@contextlib.contextmanager
def webkit() -> Iterator[WebKit]:
    """The browser on a screen of its own, if there is none."""
    with contextlib.ExitStack() as stack:
        environment = dict(os.environ)
        if SCREEN:
            environment["DISPLAY"] = stack.enter_context(_screen())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        stack.enter_context(_process([str(DRIVER), f"--port={port}"], env=environment))
        _until_it_listens(port)
        browser = WebKit(f"http://127.0.0.1:{port}")
        stack.callback(browser.close)
        yield browser


@contextlib.contextmanager
def _screen() -> Iterator[str]:
    read, write = os.pipe()
    command = [str(SCREEN), "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    with _process(command, pass_fds=[write]):
        os.close(write)
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"


@contextlib.contextmanager
def _process(command: list[str], **options: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "WebKitWebDriver does not listen"
            time.sleep(0.05)
