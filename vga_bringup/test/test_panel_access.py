"""Who may reach the panel, over HTTP and over websockets, asked of the real server without a robot or a browser."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from support.waiting import eventually
from vga_bringup.panel.access import LOOPBACK, STALE_TOKEN, Access, lan_addresses, lan_hosts, new_token
from vga_policy.cli import main
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

TOKEN = "a-token-of-this-start"


async def anything(scope, receive, send):
    """Answers whatever comes through."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
    else:
        await PlainTextResponse("let in")(scope, receive, send)


@contextmanager
def serving(token="", hosts=LOOPBACK):
    """The port of a server that lets in whom Access does."""
    listener = uvicorn.Config(anything, port=0).bind_socket()
    port = listener.getsockname()[1]
    config = uvicorn.Config(Access(anything, port, hosts, token), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    eventually(lambda: server.started, "the server starts")
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()


def asked(port, path="/", method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=10.0)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def socket_status(port, path="/", **headers):
    """101 where the websocket is let in, else the status that it is refused with."""
    origin = headers.pop("Origin", None)
    try:
        with connect(
            f"ws://127.0.0.1:{port}{path}", origin=origin, additional_headers=headers, proxy=None, open_timeout=10.0
        ):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.fixture(scope="module")
def port():
    with serving() as port:
        yield port


@pytest.fixture(scope="module")
def guarded():
    with serving(TOKEN, (*LOOPBACK, "10.0.0.5")) as port:
        yield port


def test_a_page_of_this_machine_is_let_in(port):
    assert asked(port)[0] == 200
    assert asked(port, Host=f"localhost:{port}", Origin=f"http://localhost:{port}")[0] == 200
    assert socket_status(port, Origin=f"http://127.0.0.1:{port}") == 101


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "10.0.0.5", ""])
def test_another_host_is_refused_in_one_sentence(port, host):
    status, text, _ = asked(port, Host=host)
    assert status == 403
    assert text.count("\n") == 1
    assert "is not an address of this panel" in text


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost:{port}"],
)
def test_another_origin_is_refused(port, origin):
    origin = origin.format(port=port)
    assert asked(port, "/stop", "POST", Origin=origin)[0] == 403
    assert socket_status(port, Origin=origin) == 403


def test_without_the_token_nobody_is_let_in(guarded):
    status, text, _ = asked(guarded)
    assert status == 403
    assert "open the one that `vga panel --lan` printed" in text
    assert socket_status(guarded) == 403
    assert asked(guarded, "/stop", "POST")[0] == 403


def test_a_stale_token_says_what_to_do(guarded):
    status, text, _ = asked(guarded, "/?token=of-yesterday")
    assert status == 403
    assert text == f"{STALE_TOKEN}\n"
    assert "open the address that the running `vga panel --lan` printed" in text
    cookie = f"vga_panel_{guarded}=of-yesterday"
    assert asked(guarded, Cookie=cookie)[:2] == (status, text)
    assert socket_status(guarded, Cookie=cookie) == 403


def test_the_token_becomes_a_cookie_and_leaves_the_address(guarded):
    status, _, headers = asked(guarded, f"/?token={TOKEN}", Host=f"10.0.0.5:{guarded}")
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    cookie = cookie.split(";")[0]
    assert asked(guarded, Cookie=cookie)[:2] == (200, "let in")
    assert socket_status(guarded, Cookie=cookie) == 101


def test_a_token_does_not_help_another_site(guarded):
    cookie = f"vga_panel_{guarded}={TOKEN}"
    assert asked(guarded, "/stop", "POST", Cookie=cookie, Origin="http://evil.example")[0] == 403
    assert asked(guarded, Cookie=cookie, Host="evil.example")[0] == 403


def test_a_damaged_cookie_is_none(guarded):
    assert asked(guarded, Cookie="=;\x01")[0] in (400, 403)


def test_tokens_differ_and_addresses_are_this_machines():
    assert len({new_token() for _ in range(100)}) == 100
    assert set(lan_addresses()) <= set(lan_hosts())
    assert not [address for address in lan_addresses() if address.startswith("127.")]


def test_a_port_that_is_taken_is_named(port, capsys):
    assert main(["panel", "--port", str(port)]) == 1
    told = capsys.readouterr().err
    assert told == f"vga panel: port {port}: address already in use; another panel? give another --port\n"


def test_without_nicegui_the_remedy_is_told(monkeypatch, capsys):
    monkeypatch.setattr("vga_bringup.panel.commands.find_spec", lambda _: None)
    assert main(["panel"]) == 1
    assert capsys.readouterr().err == "vga panel: NiceGUI is not installed: make setup PURPOSES=panel\n"
