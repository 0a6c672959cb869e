"""Serves the page: NiceGUI's, and beside it the images and Stop, which need no more than a request each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socket import socket

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from vga_policy.ros.errors import GraphError

from vga_bringup.panel.access import Access
from vga_bringup.panel.model import History
from vga_bringup.panel.page import TITLE, Page
from vga_bringup.panel.robot import PanelRobot

ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#d9281e'/>"
    "<rect x='10' y='10' width='12' height='12' fill='#fff'/></svg>"
)
STOPPERS = 4  # stops at once that wait for no other
FAREWELL = 2.0  # s that open pages have


def application(robot: PanelRobot, history: History, name: str = "") -> FastAPI:
    """The panel of this robot. name: where there are several."""
    app = FastAPI(openapi_url=None)
    stoppers = ThreadPoolExecutor(STOPPERS, thread_name_prefix="panel: stop")

    async def stop(_: Request) -> Response:
        try:
            told = await asyncio.get_running_loop().run_in_executor(stoppers, robot.stop)
        except GraphError as error:
            return PlainTextResponse(str(error), status_code=504)
        return PlainTextResponse(told)

    async def view(request: Request) -> Response:
        if (image := robot.image(request.path_params["camera"])) is None:
            return PlainTextResponse("no image", status_code=404)
        jpeg, age, rate = image
        headers = {"X-Age": f"{age:.3f}", "X-Rate": f"{rate:.1f}", "Cache-Control": "no-store"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    app.add_route("/stop", stop, methods=["POST"])
    app.add_route("/view/{camera}", view, methods=["GET"])

    @ui.page("/")
    def page() -> None:
        Page(robot, history, name)

    ui.run_with(app, title=TITLE, dark=True, favicon=ICON, tailwind=False, show_welcome_message=False)
    return app


def serve(app: Access, host: str, port: int, ready: Callable[[], None]) -> None:
    """Until Ctrl-C or SIGTERM. ready: called when pages can be opened."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        app, host=host, port=port, log_level="error", access_log=False, timeout_graceful_shutdown=int(FAREWELL)
    )
    with suppress(KeyboardInterrupt):
        Server(config).run()
