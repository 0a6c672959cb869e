import pyrealsense2 as rs
import pytest
from support.software_d415 import CONTROLS, SoftwareD415
from vga_bringup.camera.controls import apply_controls
from vga_bringup.camera.discovery import color_sensor
from vga_policy.cell.schema import Camera

AUTOMATIC = Camera(name="wrist", serial="042", role="wrist")
LOCKED = AUTOMATIC.model_copy(update={"exposure_us": 8000, "gain": 32, "white_balance_k": 4500})


def apply(contract, **options):
    camera = SoftwareD415(**options)
    controls = apply_controls(color_sensor(camera.device), contract)
    return camera, {control.name: control for control in controls}


def test_locks_are_set_and_read_back():
    camera, controls = apply(LOCKED)
    assert camera.option(rs.option.enable_auto_exposure) == 0
    assert camera.option(rs.option.enable_auto_white_balance) == 0
    assert camera.option(rs.option.exposure) == 80  # an RGB sensor counts 100 us
    assert {name: (control.actual, control.problem) for name, control in controls.items()} == {
        "exposure_us": (8000, ""),
        "gain": (32, ""),
        "white_balance_k": (4500, ""),
    }
    assert str(controls["exposure_us"]) == "8000 (locked)"


def test_without_locks_the_camera_is_put_back_to_automatic():
    camera = SoftwareD415()
    for contract, automatic in ((LOCKED, 0), (AUTOMATIC, 1)):
        controls = apply_controls(color_sensor(camera.device), contract)
        assert camera.option(rs.option.enable_auto_exposure) == automatic
        assert camera.option(rs.option.enable_auto_white_balance) == automatic
    assert not any(control.problem for control in controls)
    assert str(controls[0]) == "8000 (automatic)"


def test_frame_rate_is_never_traded_for_exposure():
    camera, _ = apply(AUTOMATIC)
    assert camera.option(rs.option.auto_exposure_priority) == 0


def test_a_control_the_camera_lacks_is_reported():
    _, controls = apply(LOCKED, controls={rs.option.gain: CONTROLS[rs.option.gain]})
    assert not controls["gain"].problem
    assert str(controls["exposure_us"]) == "none (asked 8000: this camera does not have it)"
    _, controls = apply(AUTOMATIC, controls={})
    assert not any(control.problem for control in controls.values())


@pytest.mark.parametrize(
    ("update", "allowed"),
    [
        ({"exposure_us": 2_000_000}, "100 to 1e+06 in steps of 100"),
        ({"gain": 500}, "0 to 128 in steps of 1"),
        ({"white_balance_k": 4505}, "2800 to 6500 in steps of 10"),
    ],
)
def test_a_refused_value_is_reported_with_those_allowed(update, allowed):
    _, controls = apply(AUTOMATIC.model_copy(update=update))
    assert allowed in controls[next(iter(update))].problem
