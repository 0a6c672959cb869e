"""A headless Chromium, driven over its DevTools protocol as a person would drive it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections import deque
from pathlib import Path
from urllib.request import urlopen

from support.waiting import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu")
QUIET = ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync")


class Browser:
    """One page. A context manager. requested: the addresses of all that the page has asked for."""

    def __init__(self, directory: Path, width: int = 1280, height: int = 900) -> None:
        """directory: for the browser's own files."""
        self.requested: list[str] = []
        self._directory = directory
        self._events: deque[dict] = deque()
        self._count = 0
        command = [CHROMIUM, *FLAGS, *QUIET, "--remote-debugging-port=0", f"--user-data-dir={directory}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._socket = self._connect()
        for domain in ("Page", "Network", "Runtime"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process that the others are children of."""
        return self._process.pid

    def send(self, method: str, **parameters) -> dict:
        """The answer to one command."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30.0))
            if message.get("id") == self._count:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("method") == "Network.webSocketCreated":
                self.requested.append(message["params"]["url"])

    def open(self, url: str) -> None:
        """Opens an address and waits until it has loaded."""
        self.send("Page.navigate", url=url)
        eventually(lambda: self.evaluate("document.readyState") == "complete", f"{url} loads", meanwhile=_glance)

    def evaluate(self, expression: str):
        """The value of some JavaScript, awaited where it is a promise."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """What is to be read there; empty where there is no such element."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def until(self, expression: str, what: str, seconds: float = 30.0) -> None:
        """Waits until some JavaScript is true."""
        eventually(lambda: self.evaluate(f"!!({expression})"), lambda: f"{what}: {self.text()}", seconds, _glance)

    def click(self, selector: str, text: str = "") -> None:
        """Presses and lets go of the mouse on the first such element, of this text if there is one."""
        place = self.evaluate(
            f"(() => {{ const all = [...document.querySelectorAll({json.dumps(selector)})];"
            f"const one = all.find((e) => !{json.dumps(text)} || e.innerText.trim() === {json.dumps(text)});"
            "if (!one) return null; one.scrollIntoView({block: 'center'}); const r = one.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        assert place, f"there is no {selector} {text!r}"
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def type(self, selector: str, text: str) -> None:
        """Writes into a field, in place of what is there."""
        self.evaluate(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.send("Input.insertText", text=text)

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """The page's size, in pixels."""
        scale = 2 if phone else 1
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    def picture(self, file: Path, whole: bool = False) -> None:
        """Writes what is seen as PNG; `whole`: below what fits, too."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def _connect(self):
        from websockets.sync.client import connect

        port_file = self._directory / "DevToolsActivePort"
        eventually(
            lambda: port_file.is_file() and port_file.read_text().count("\n"), "Chromium starts", meanwhile=_glance
        )
        port = port_file.read_text().splitlines()[0]

        def page():
            with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                return next((one for one in json.load(answer) if one["type"] == "page"), None)

        url = eventually(page, "Chromium has a page", meanwhile=_glance)["webSocketDebuggerUrl"]
        return connect(url, max_size=None, open_timeout=30.0, ping_interval=None, legacy=True)


def _glance() -> None:
    time.sleep(0.05)
