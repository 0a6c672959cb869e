"""The ghost of the reference picture, the reset error, and the page that shows them."""

import http.client
import io
from urllib.request import urlopen

import numpy as np
from PIL import Image
from vga_bringup.study.ghost import HEIGHT, NOW, WANTED, ghost, reset_errors, sheet
from vga_bringup.study.page import serve

TABLE = np.full((120, 160, 3), (160, 130, 95), np.uint8)


def cube(x, y, picture=TABLE):
    shown = picture.copy()
    shown[y : y + 20, x : x + 20] = (210, 30, 30)
    return shown


def noisy(picture, seed=0):
    noise = np.random.default_rng(seed).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_the_reset_error_is_the_share_that_differs():
    assert reset_errors({"a": cube(40, 40)}, {"a": noisy(cube(40, 40))}) == {"a": 0.0}
    apart = reset_errors({"a": cube(40, 40)}, {"a": noisy(cube(90, 40))})["a"]
    assert 2 * 400 / TABLE[..., 0].size * 0.9 < apart < 2 * 400 / TABLE[..., 0].size * 1.6
    assert 0 < reset_errors({"a": cube(40, 40)}, {"a": cube(43, 40)})["a"] < apart


def test_other_light_is_no_reset_error():
    darker = (cube(40, 40) * 0.92).astype(np.uint8)
    assert reset_errors({"a": cube(40, 40)}, {"a": darker})["a"] < 0.001


def test_a_camera_without_reference_has_no_error_and_another_size_is_all_wrong():
    assert reset_errors({}, {"a": TABLE}) == {}
    assert reset_errors({"a": TABLE}, {"a": TABLE[::2, ::2]}) == {"a": 1.0}


def test_the_ghost_outlines_what_is_there_and_what_should_be():
    shown = ghost(cube(40, 40), cube(90, 40))
    red, cyan = (np.argwhere((shown == color).all(axis=-1)) for color in (NOW, WANTED))
    assert 85 < red[:, 1].min() < red[:, 1].max() < 115
    assert 35 < cyan[:, 1].min() < cyan[:, 1].max() < 65
    right = ghost(cube(40, 40), noisy(cube(40, 40)))
    assert not (right == NOW).all(axis=-1).any()
    assert not (right == WANTED).all(axis=-1).any()


def test_a_sheet_holds_all_cameras():
    whole = sheet({"a": cube(40, 40)}, {"a": cube(50, 40), "b": TABLE}, "trial 1 of 80: arm K7")
    assert whole.width == 2 * 160 * HEIGHT // 120


def test_the_page_shows_the_newest_to_this_machine_only():
    with serve() as page:
        page.show(Image.new("RGB", (64, 48), (255, 0, 0)), "trial 1 of 80: arm K7")
        assert b"ghost.jpg" in urlopen(page.address).read()
        assert urlopen(f"{page.address}words").read() == b'"trial 1 of 80: arm K7"'
        picture = Image.open(io.BytesIO(urlopen(f"{page.address}ghost.jpg?1").read()))
        assert picture.size == (64, 48)
        port = int(page.address.rstrip("/").rpartition(":")[2])
        foreign = http.client.HTTPConnection("127.0.0.1", port)
        foreign.request("GET", "/", headers={"Host": "evil.example"})
        assert foreign.getresponse().status == 404
        foreign.close()
