"""Headless Chromium, spoken to by the Chrome DevTools Protocol through a pipe; no library and no port."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"]
TIMEOUT = 30  # seconds
COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


class Browser:
    """One page at a time.

    Attributes:
        complaints: what the page wrote to the console since `open`: errors, warnings, refused connections, messages.
    """

    def __init__(self, profile: Path):
        theirs, self.write = _pipe()
        self.read, ours = _pipe()
        # Chromium reads commands from descriptor 3 and answers on 4
        command = f'exec 3<&{theirs} 4>&{ours}; exec "$0" "$@"'
        arguments = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", command, *arguments], pass_fds=(theirs, ours), stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(ours)
        self.numbers, self.buffer, self.session, self.complaints = itertools.count(1), b"", None, []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def open(self, page: Path | str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a page, a file or a URL, in a window of this size, and wait until it is ready."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Page.navigate", url="about:blank")
        self.complaints = []
        self("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        end = time.monotonic() + TIMEOUT
        while not self.run("document.documentElement?.dataset.ready"):
            assert time.monotonic() < end, f"not ready: {self.complaints}"
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript; promises are awaited."""
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path, whole: bool = True) -> None:
        data = self("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def press(self, key: str, text: str = "") -> None:
        """Press a key, named as in KeyboardEvent.key."""
        for kind in ("keyDown", "keyUp"):
            self(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}.get(key, 0),
            )

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        os.close(self.read)
        os.close(self.write)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            data = os.read(self.read, 1 << 20)
            assert data, "Chromium has ended"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(line)
        if message.get("method") in COMPLAINTS:
            self.complaints.append(message["params"])
        return message


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are not 3 or 4."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
