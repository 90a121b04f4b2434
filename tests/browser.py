"""Debian's chromium, driven through its own pipe: pages from disk, real keys, what is on the screen."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (Debian: apt-get install chromium)")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-pipe")
CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35, "PageUp": 33,
         "PageDown": 34, "Tab": 9, "Enter": 13, " ": 32, "Escape": 27}  # fmt: skip


class Browser:
    """One page of a fresh browser; a context manager."""

    def __init__(self, profile: Path) -> None:
        to_browser, from_browser = os.pipe(), os.pipe()

        def hand_over() -> None:  # chromium reads from descriptor 3 and writes to 4, which may be free or not
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1])]
            os.dup2(ends[0], 3), os.dup2(ends[1], 4)

        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            command, close_fds=False, preexec_fn=hand_over, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser[0]), os.close(from_browser[1])
        self.into, self.out = os.fdopen(to_browser[1], "wb", 0), os.fdopen(from_browser[0], "rb", 0)
        self.number, self.rest, self.session, self.events = 0, b"", None, []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.into.close(), self.out.close()

    def do(self, method: str, **parameters: Any) -> dict:
        """Send a command of the DevTools protocol and return what it answers; events before that are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.into.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self.rest:
            more = self.out.read(1 << 16)
            assert more, "the browser has ended"
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, query: str = "") -> None:
        """Load a file and wait until it is there."""
        self.events = []
        self.do("Page.navigate", url=page.as_uri() + (f"?{query}" if query else ""))
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, script: str) -> Any:
        """What a script of the page comes to; a promise is waited for."""
        answer = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 10) -> None:
        """Wait until an expression of the page is true, so many seconds at most."""
        script = f"""new Promise((done) => {{ let left = {int(50 * seconds)}; const look = () => {{
            if (({condition}) || !left--) done(left >= 0); else setTimeout(look, 20); }}; look(); }})"""
        assert self.value(script), f"never true: {condition}"

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        for key in keys:
            what = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": CODES[key]}
            text = {" ": {"text": " "}, "Enter": {"text": "\r"}}.get(key, {})
            self.do("Input.dispatchKeyEvent", type="keyDown", **what, **text)
            self.do("Input.dispatchKeyEvent", type="keyUp", **what)

    def choose(self, field: str, *files: Path) -> None:
        """Choose files in the field that a CSS selector finds."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector=field)["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def drag(self, *points: tuple[float, float]) -> None:
        """Put the mouse down on the first point, move it over the others, and release it."""
        held = {"button": "left", "buttons": 1}
        for n, (x, y) in enumerate(points):
            self.do("Input.dispatchMouseEvent", type="mouseMoved" if n else "mousePressed", x=x, y=y, **held)
        self.do("Input.dispatchMouseEvent", type="mouseReleased", x=points[-1][0], y=points[-1][1], button="left")

    def screen(self, width: int, height: int, scale: float = 1) -> None:
        """Set the size of the page."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.do("Emulation.setDeviceMetricsOverride", **metrics)

    def media(self, kind: str = "", **features: str) -> None:
        """Show the page on paper (`kind="print"`), or with media features such as prefers_reduced_motion="reduce"."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.do("Emulation.setEmulatedMedia", media=kind, features=named)

    def picture(self) -> bytes:
        """The screen as a PNG."""
        return base64.b64decode(self.do("Page.captureScreenshot")["data"])

    def requests(self) -> list[str]:
        """Addresses that the page asked for, without those that carry their data."""
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def errors(self) -> list[str]:
        """What the page complained about."""
        said = [event for event in self.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        return [json.dumps(event["params"]) for event in said]
