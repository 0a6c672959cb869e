"""Who may reach the panel: from this machine, or with a token from the local network; never by another site's page."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

import psutil
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
TOKEN = "token"  # in the address that `vga panel --lan` prints
FOREIGN_HOST = "vga panel: {host!r} is not an address of this panel: use the one that `vga panel` printed"
FOREIGN_ORIGIN = "vga panel: refused: a page of {origin!r} asked for this"
NO_TOKEN = "vga panel: this address lacks its token: open the one that `vga panel --lan` printed"
STALE_TOKEN = (
    "vga panel: this token is of a panel that has ended: open the address that the running `vga panel --lan` printed"
)


class Access:
    """Lets through to `app` what may be asked, over HTTP and over websockets; the rest is refused with status 403.

    hosts: by which it is reached, without port. token: asked for where not empty: once in the address, then in a
    cookie.
    """

    def __init__(self, app: ASGIApp, port: int, hosts: Iterable[str] = LOOPBACK, token: str = "") -> None:
        self._app, self._token = app, token
        self._hosts = {f"{host}:{port}" for host in hosts}
        if port == 80:  # browsers leave it out
            self._hosts.update(hosts)
        self._cookie = f"vga_panel_{port}"  # cookies know no port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif why := self._refusal(scope):
            await self._refuse(why, scope, receive, send)
        elif scope["type"] == "http" and TOKEN in _query(scope):
            answer = RedirectResponse("/", status_code=303)  # the token stays in no history
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        """Why it may not be asked; empty when it may."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if (host := headers.get("host", "").lower()) not in self._hosts:
            return FOREIGN_HOST.format(host=host)
        origin = headers.get("origin")
        if origin is not None and (urlsplit(origin).scheme != "http" or urlsplit(origin).netloc != host):
            return FOREIGN_ORIGIN.format(origin=origin)
        if not self._token:
            return ""
        given = _query(scope).get(TOKEN, _cookie(headers.get("cookie", ""), self._cookie))
        if not given:
            return NO_TOKEN
        return "" if secrets.compare_digest(given.encode(), self._token.encode()) else STALE_TOKEN

    @staticmethod
    async def _refuse(why: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why})  # before it is accepted: a 403
        else:
            await PlainTextResponse(f"{why}\n", status_code=403)(scope, receive, send)


def new_token() -> str:
    """128 bits that nobody guesses."""
    return secrets.token_urlsafe(16)


def lan_addresses() -> list[str]:
    """This machine's own IPv4 addresses, but loopback's."""
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]


def lan_hosts() -> tuple[str, ...]:
    """What this machine may be called in an address."""
    name = socket.gethostname().lower()
    return (*LOOPBACK, *lan_addresses(), name, f"{name}.local")


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))


def _cookie(header: str, name: str) -> str:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""
