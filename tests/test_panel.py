"""`vga panel` in a real browser, beside the whole simulated graph: a task from the page, stops, and who is let in.

One graph and one panel serve all tests, in their order.
"""

from __future__ import annotations

import http.client
import json
import os
from urllib.parse import urlsplit

import pytest
from support.browser import Browser
from support.panel_process import INSTRUCTION, STOPS_WITHIN, panel, stopped_from, watched_graph
from vga_bringup.trials.scene import prepare
from vga_policy.message_constants import Mode
from vga_policy.ros.client.scene import SceneClient

HELD_WITHIN = 0.15  # s from the click
STOPS = 3  # twenty: test_panel_stops
PHONE = (390, 844)


@pytest.fixture(scope="module")
def watch(ros_domain, sim_cell, tmp_path_factory):
    with watched_graph(sim_cell, tmp_path_factory.mktemp("graph") / "nodes.log") as watch:
        yield watch


@pytest.fixture(scope="module")
def served(watch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("panel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        with panel(log=folder / "panel.log") as (process, address):
            yield process, address


@pytest.fixture(scope="module")
def page(served, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        browser.open(served[1])
        browser.until("document.body.innerText.includes('ready, at')", "what vga doctor found")
        yield browser


def asked(address, method="GET", path="/", **headers):
    """The status of one request, made by no browser."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10.0)
    connection.request(method, path, headers=headers)
    return connection.getresponse().status


def keep(page, name, whole=False):
    """Where PICTURES is set, what the page looks like is kept there."""
    if folder := os.environ.get("PICTURES"):
        from pathlib import Path

        page.picture(Path(folder, name), whole)


def test_a_whole_task_is_run_from_the_page(watch, page):
    scene = SceneClient(watch.session)
    prepare(watch.session, watch.driver, scene, "pick_cube", 7)
    page.until("document.querySelectorAll('img[data-camera]').length === 2", "both views")
    page.until("[...document.querySelectorAll('img[data-camera]')].every((i) => i.naturalWidth === 320)", "images")
    assert [page.text(".view:nth-child(1) b"), page.text(".view:nth-child(2) b")] == ["fixed_1", "wrist"]
    page.type("input[aria-label=instruction]", INSTRUCTION)
    watch.run_from(page)
    page.until("document.querySelector('.mode')?.innerText === 'POLICY'", "the mode")
    page.until("/step \\d+/.test(document.querySelector('.running')?.innerText)", "the task")
    page.until("/ms old, \\d/.test(document.querySelector('.caption')?.innerText)", "age and rate")
    if os.environ.get("PICTURES"):
        page.evaluate("scrollTo(0, 0)")
        watch.session.spin_until(lambda: False, 3.0)
        keep(page, "panel.png")
    watch.until(lambda: watch.driver.mode is Mode.HOLD, "the end of the task", 60.0)
    page.until("document.querySelector('.events')?.innerText.includes('run: succeeded')", "the outcome")
    assert "Hz" in page.text(".figures")


def test_a_stop_from_the_page_holds_at_once(watch, page):
    for turn in range(STOPS):
        held, rest = stopped_from(watch, page, turn)
        assert held <= HELD_WITHIN
        assert rest <= STOPS_WITHIN
    page.until("document.querySelector('.events')?.innerText.includes('stop:')", "word of the stop")


def test_a_phone_scrolls_one_way_only_and_stop_is_in_reach(page):
    page.resize(*PHONE, phone=True)
    page.until("document.querySelector('.card').getBoundingClientRect().width <= 390", "the narrow page")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    box = json.loads(page.evaluate("JSON.stringify(document.querySelector('#stop').getBoundingClientRect())"))
    assert box["width"] > 300
    assert box["height"] > 48
    assert box["bottom"] <= PHONE[1]
    keep(page, "phone.png")
    page.resize(1280, 900)


@pytest.mark.long
def test_two_pages_see_one_another_and_losing_one_changes_nothing(watch, page, served, tmp_path):
    with Browser(tmp_path) as other:
        other.open(served[1])
        for one in (page, other):
            one.until("document.querySelector('.pages')?.innerText.startsWith('2 pages')", "two pages")
        watch.run_from(other)
    page.until("document.querySelector('.pages')?.innerText.startsWith('1 page ')", "one page")
    watch.until(watch.moves, "motion that goes on")
    page.click("button", "Cancel")
    watch.until(lambda: watch.driver.mode is Mode.HOLD, "HOLD")


def test_nothing_is_loaded_from_elsewhere(page, served):
    place = urlsplit(served[1]).netloc
    assert len(page.requested) > 10
    assert {urlsplit(url).netloc for url in page.requested if not url.startswith(("data:", "blob:"))} == {place}


def test_other_sites_are_refused(served):
    address = served[1]
    assert asked(address) == 200
    assert asked(address, Host="rebound.example:8180") == 403
    assert asked(address, "POST", "/stop", Origin="http://other.example") == 403
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    socket = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert asked(address, "GET", socket, Origin="http://other.example", **upgrade) == 403


@pytest.mark.long
def test_a_panel_that_ends_leaves_the_task_to_the_policy_and_another_ends_it(watch, page, served, tmp_path):
    with panel("--lan", log=tmp_path / "log") as (_, address), Browser(tmp_path / "browser") as other:
        assert asked(address) == 403
        assert asked(address, path="/?token=stale") == 403
        other.open(address)
        assert "token" not in other.evaluate("location.href")
        for one in (page, other):
            one.until("document.querySelector('.pages')?.innerText.includes('1 other panel')", "the other panel")
        other.until("document.body.innerText.includes('ready, at')", "what vga doctor found")
        watch.run_from(page)
        served[0].kill()
        served[0].wait()
        watch.forget()
        watch.until(lambda: len(watch.references) > 50 and watch.moves(), "motion that goes on")
        other.until("document.querySelector('.running')", "the task that the other panel started")
        other.click("button", "Cancel")
        watch.until(watch.rests, "rest in HOLD")
        other.until("document.querySelector('.events')?.innerText.includes('was not started here')", "word of it")
