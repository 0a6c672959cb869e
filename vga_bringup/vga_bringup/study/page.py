"""A page of this machine alone that shows the ghost, renewed by itself, to whoever sets the scene."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from PIL import Image

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost")
PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>vga eval robot</title>
<style>body{font:18px sans-serif;margin:12px;color:#1f2933}img{width:100%;max-width:1600px}</style>
<p id="words">starting</p><img id="ghost" alt="reference over the live view"><script>
async function renew(){try{
 document.getElementById("words").textContent=(await(await fetch("words")).json());
 document.getElementById("ghost").src="ghost.jpg?"+Date.now()}
 catch(e){document.getElementById("words").textContent="vga eval robot has ended"}}
setInterval(renew,400);renew()</script></html>"""


class GhostPage:
    """What the page shows. address: where it is."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.words, self.picture = "", _jpeg(Image.new("RGB", (640, 360), (255, 255, 255)))

    def show(self, image: Image.Image, words: str) -> None:
        """Shows another picture and line from now on."""
        self.words, self.picture = words, _jpeg(image)


@contextmanager
def serve(port: int = 0) -> Iterator[GhostPage]:
    """Serves a page on `port`, by default any that is free. Raises OSError."""
    with ThreadingHTTPServer((LOOPBACK, port), _Handler) as server:
        server.page = page = GhostPage(f"http://{LOOPBACK}:{server.server_port}/")  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, name="ghost page", daemon=True)
        thread.start()
        try:
            yield page
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answers with the page or a part of it; not to a page of another host that was pointed here."""
        page: GhostPage = self.server.page  # type: ignore[attr-defined]
        answers = {
            "/": ("text/html", PAGE),
            "/words": ("application/json", json.dumps(page.words).encode()),
            "/ghost.jpg": ("image/jpeg", page.picture),
        }
        path = self.path.partition("?")[0]
        if self.headers.get("Host", "").partition(":")[0] not in HOSTS or path not in answers:
            self.send_error(404)
            return
        kind, body = answers[path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing: the terminal is the operator's."""


def _jpeg(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=85)
    return data.getvalue()
