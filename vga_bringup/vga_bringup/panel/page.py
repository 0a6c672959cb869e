"""The page itself, of NiceGUI's elements. Each browser that opens it has its own; all show the same robot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from importlib.resources import files

from nicegui import Client, ui
from nicegui.elements.html import Html
from vga_policy.message_constants import DISCARDED, FAILURE, SUCCESS

from vga_bringup.panel import cards
from vga_bringup.panel.model import History, RobotStatus
from vga_bringup.panel.robot import PanelRobot

REFRESH = 0.25  # s
VIEW_PERIOD_MS = 200
TITLE = "VGA panel"
REMARK = (
    "The arm does not need this page. Close it, or lose it, and a task that runs goes on; "
    "to end it: Stop, <code>vga stop</code>, or the user stop, which is the fastest."
)


class Page:
    """The page of one browser. Made inside a function that NiceGUI calls for it."""

    def __init__(self, robot: PanelRobot, history: History, name: str) -> None:
        """name: of the robot; empty where there is one."""
        self._robot, self._history, self._name = robot, history, escape(name)
        self._shown: dict[Html, str] = {}
        self._cameras: tuple[str, ...] = ()
        _frame()
        self._build()
        self._refresh()
        ui.timer(REFRESH, self._refresh)

    def _build(self) -> None:
        with ui.element("header"):
            self._mode = _html("status")
            with ui.element("div").classes("right"):
                _html("name", self._name)
                self._pages = _html("")
        with ui.element("main"):
            self._build_views()
            with _column():
                self._build_task()
                with _card("Asked and done"):
                    self._events = _html("")
            with _column():
                with _card("Chunks"):
                    self._timing = _html("")
                self._build_episodes()
                self._study_card = _card("Evaluation")
                with self._study_card:
                    self._study = _html("")
                self._leader_card = _card("Leader and arm")
                with self._leader_card:
                    self._leader = _html("")
            with _column():
                self._build_health()
        _html("remark", REMARK)

    def _build_views(self) -> None:
        with _card("What the policy sees").classes("views"):
            self._views = ui.element("div").classes("pictures")
            self._no_views = _html("muted", "no camera is heard")

    def _build_task(self) -> None:
        with _card("Task"):
            self._task = _html("")
            former = self._history.instructions
            self._instruction = ui.input("instruction", value=former[0] if former else "", autocomplete=former)
            self._instruction.props("outlined dense")
            with ui.element("div").classes("history"):
                self._chips = ui.element("div").classes("chips")
            with ui.element("div").classes("buttons"):
                self._limit = ui.number("steps at most", min=0, precision=0).props("outlined dense").classes("limit")
                self._run = _button("Run", self._on_run, "run")
                self._cancel = _button("Cancel", self._robot.cancel)
            with ui.element("div").classes("buttons"):
                self._home = _button("Home", self._robot.home)
                self._recover = _button("Recover", self._robot.recover)
            self._refill()

    def _build_episodes(self) -> None:
        with _card("Episodes"):
            self._recorder = _html("")
            self._episode = ui.input("short name of the task").props("outlined dense")
            with ui.element("div").classes("buttons"):
                self._start = _button("Record", self._on_record, "run")
                self._end = _button("End", lambda: self._robot.end_episode(""))
            with ui.element("div").classes("buttons"):
                self._labels = [
                    _button(text, partial(self._robot.end_episode, outcome))
                    for text, outcome in (("Success", SUCCESS), ("Failure", FAILURE), ("Discard", DISCARDED))
                ]

    def _build_health(self) -> None:
        with _card("Health"):
            self._parts = _html("")
            with ui.expansion("all figures of the driver"):
                self._figures = _html("")
        with _card("Doctor"):
            self._findings = _html("")
            _button("Look again", self._robot.examine)

    # What a person does.

    def _on_run(self) -> None:
        instruction = (self._instruction.value or "").strip()
        if not instruction:
            ui.notify("write the instruction first", type="warning")
            return
        self._history.add(instruction)
        self._refill()
        self._robot.run(instruction, int(self._limit.value or 0))

    def _on_record(self) -> None:
        task, instruction = (self._episode.value or "").strip(), (self._instruction.value or "").strip()
        if not task and not instruction:
            ui.notify("write the instruction, or the short name of the task, first", type="warning")
            return
        self._robot.start_episode(task, instruction)

    def _refill(self) -> None:
        self._instruction.set_autocomplete(self._history.instructions)
        self._chips.clear()
        with self._chips:
            for text in self._history.instructions[:4]:
                ui.button(text, on_click=partial(self._instruction.set_value, text), color=None).props(
                    "flat no-caps dense"
                )

    # What it shows.

    def _refresh(self) -> None:
        snapshot = self._robot.snapshot()
        self._show(self._mode, cards.mode(snapshot.driver))
        self._show(self._pages, cards.connected(open_pages(), snapshot.panels))
        self._show(self._task, cards.task(snapshot))
        self._show(self._timing, cards.timing(snapshot.timing))
        self._show(self._leader, cards.leader(snapshot.leader))
        self._leader_card.set_visibility(bool(snapshot.leader))
        self._show(self._recorder, cards.recorder(snapshot.recorder))
        self._study_card.set_visibility(snapshot.study is not None)
        if snapshot.study is not None:
            self._show(self._study, cards.study(snapshot.study))
        self._show(self._events, cards.events(snapshot.events))
        self._show(self._parts, cards.parts(snapshot.parts))
        self._show(self._figures, cards.figures(snapshot.parts))
        self._show(self._findings, cards.findings(snapshot.findings))
        self._show_views(tuple(view.camera for view in snapshot.views))
        self._enable(snapshot)

    def _show(self, element: Html, content: str) -> None:
        if self._shown.get(element) != content:
            self._shown[element] = content
            element.set_content(content)

    def _show_views(self, cameras: tuple[str, ...]) -> None:
        self._no_views.set_visibility(not cameras)
        if cameras == self._cameras:
            return
        self._cameras = cameras
        self._views.clear()
        with self._views:
            for camera in cameras:
                name = escape(camera)
                picture = f"<img alt='' data-camera='{name}' data-period={VIEW_PERIOD_MS}>"
                _html("view", f"{picture}<span class=caption><b>{name}</b> <i>no image yet</i></span>")

    def _enable(self, snapshot: RobotStatus) -> None:
        runs, recorder = "run" in snapshot.doing or bool(snapshot.task), snapshot.recorder
        self._run.set_enabled(not runs)
        self._home.set_enabled(not runs and "home" not in snapshot.doing)
        self._recover.set_enabled("recover" not in snapshot.doing)
        self._start.set_enabled(recorder.there and not recorder.recording)
        self._end.set_enabled(recorder.recording)
        for label in self._labels:
            label.set_enabled(recorder.there and bool(recorder.episode))


def open_pages() -> int:
    """How many browsers are connected."""
    return sum(client.has_socket_connection for client in Client.instances.values())


def _frame() -> None:
    """Style, Stop and the script: they work before, and without, all that follows."""
    folder = files(__package__)
    style, script, stop = ((folder / name).read_text("utf-8") for name in ("panel.css", "panel.js", "stop.html"))
    ui.add_head_html(f"<style>{style}</style>")
    ui.add_body_html(f"{stop}<script>{script}</script>")


def _column() -> ui.element:
    return ui.element("div").classes("column")


def _card(title: str) -> ui.element:
    card = ui.element("section").classes("card")
    with card:
        ui.html(f"<h2>{title}</h2>", sanitize=False)
    return card


def _html(classes: str, content: str = "") -> Html:
    """Filled by what `cards` makes, which has escaped all that is not its own."""
    return ui.html(content, sanitize=False).classes(classes)


def _button(text: str, do: Callable[[], object], look: str = "") -> ui.button:
    return ui.button(text, on_click=do, color=None).props("unelevated no-caps").classes(f"action {look}")
