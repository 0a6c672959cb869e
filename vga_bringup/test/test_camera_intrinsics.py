import numpy as np
import pyrealsense2 as rs
import pytest
from software_d415 import intrinsics
from vga_bringup.camera.intrinsics import camera_model

BROWN = (rs.distortion.brown_conrady, rs.distortion.modified_brown_conrady, rs.distortion.inverse_brown_conrady)
# The distortion of a D435i's color stream, of usual size for the family.
COEFFICIENTS = [0.16, -0.49, 0.0007, -0.0004, 0.44]


def project(model, point):
    """ROS's projection by the numbers of CameraInfo (image_geometry)."""
    x, y = point[0] / point[2], point[1] / point[2]
    k1, k2, p1, p2, k3 = model.d
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    distorted = [
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        1,
    ]
    return (np.reshape(model.k, (3, 3)) @ distorted)[:2]


@pytest.mark.parametrize("distortion", [rs.distortion.none, *BROWN])
def test_projects_as_librealsense_does(distortion):
    numbers = intrinsics(640, 480)
    numbers.model, numbers.coeffs = distortion, [0.0] * 5 if distortion == rs.distortion.none else COEFFICIENTS
    model = camera_model(numbers)
    assert model.distortion_model == "plumb_bob"
    for x in np.linspace(-0.5, 0.5, 7):
        for y in np.linspace(-0.4, 0.4, 7):
            assert project(model, (x, y, 1)) == pytest.approx(
                rs.rs2_project_point_to_pixel(numbers, [x, y, 1.0]), abs=0.1
            )


def test_matrices_are_those_of_an_unrectified_single_camera():
    numbers = intrinsics(320, 240)
    model = camera_model(numbers)
    assert (model.width, model.height) == (320, 240)
    assert np.reshape(model.k, (3, 3)) == pytest.approx(
        np.array([[numbers.fx, 0, numbers.ppx], [0, numbers.fy, numbers.ppy], [0, 0, 1]])
    )
    assert np.array_equal(np.reshape(model.r, (3, 3)), np.eye(3))
    assert np.array_equal(np.reshape(model.p, (3, 4)), np.c_[np.reshape(model.k, (3, 3)), np.zeros(3)])


def test_fisheye_is_equidistant():
    numbers = intrinsics(640, 480)
    numbers.model, numbers.coeffs = rs.distortion.kannala_brandt4, [0.5, 0.25, 0.125, 0.0625, 0.0]
    model = camera_model(numbers)
    assert (model.distortion_model, model.d) == ("equidistant", (0.5, 0.25, 0.125, 0.0625))


def test_a_distortion_without_a_name_is_refused():
    numbers = intrinsics(640, 480)
    numbers.model = rs.distortion.ftheta
    with pytest.raises(ValueError, match="ftheta"):
        camera_model(numbers)
