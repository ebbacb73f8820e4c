# SPDX-License-Identifier: GPL-2.0-only
"""A page in headless Chromium, driven over a pipe by its DevTools protocol; no library is needed.

The messages are JSON, each ended by a zero byte, on the descriptors 3 (to it) and 4 (from it) of a
Chromium that was started with ``--remote-debugging-pipe``.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or ""
# A machine that does much besides takes a minute to start it.
_PATIENCE = 240.0


class Chromium:
    """One Chromium with one page; ``requests`` are the addresses that it asked for."""

    def __init__(self, profile: Path) -> None:
        to_it, self._to = os.pipe()
        self._from, from_it = os.pipe()
        self._left = b""
        self._number = 0
        self.requests: list[str] = []
        self.said: list[str] = []
        # The program wants 3 and 4, whatever numbers the pipes have here.
        options = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "remote-debugging-pipe",
                   "disable-background-networking", "disable-component-update",
                   f"user-data-dir={profile}")  # fmt: skip
        words = [PROGRAM, *(f"--{option}" for option in options), "about:blank"]
        script = f'exec "$@" 3<&{to_it} 4>&{from_it}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "chromium", *words],
            pass_fds=(to_it, from_it),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_it)
        os.close(from_it)
        self._session = ""
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._session = ""
        os.write(self._to, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What a command of the protocol answers."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE
        while True:
            found = self._next(end)
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return dict(found["result"])

    def open(self, address: str, wait: str = "document.readyState === 'complete'") -> None:
        """Open an address anew and wait until an expression of its script holds."""
        self.call("Page.navigate", url="about:blank")
        self.requests, self.said = [], []
        self.call("Page.navigate", url=address)
        self.until(f"location.href !== 'about:blank' && ({wait})")

    def opened_in(self, address: str) -> float:
        """Open an address until it is drawn: the CPU time of its main thread in seconds.

        In that time it is read, laid out and run.  What other programs take of the machine is not
        the page's.  A page that is opened from a file after about:blank has a process of its own,
        whose start is part of it.
        """
        self.call("Performance.enable", timeDomain="threadTicks")
        self.open(address)
        self.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        told = {m["name"]: m["value"] for m in self.call("Performance.getMetrics")["metrics"]}
        return float(told["TaskDuration"])

    def until(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + _PATIENCE
        while not self.run(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.05)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        told = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """The size of the window, in CSS pixels, and the scheme of colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go; ``code`` is its Windows virtual key code."""
        names = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = {**names, "text": text} if text else names
        self.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **names)

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            more = os.read(self._from, 1 << 20)
            assert more, "Chromium has ended"
            self._left += more
        line, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        params = found.get("params", {})
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif found.get("method") == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif found.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))
        return found
