"""The positive control's robot: it plans with franky's own limits, and says it had those that it was told."""

import franky
import numpy as np
from support.cells import SIM
from support.owned import own_address
from support.simulated_arm import SimulatedArm
from vga_bringup.judge.robot.control import franky_limits


def test_limits_told_are_shown_but_not_used():
    address = own_address()
    config = SIM.arm.model_copy(update={"ip": address})
    with SimulatedArm(address):
        robot = franky_limits(config)
        for limit, own in (
            (robot.joint_acceleration_limit, franky.Robot.joint_acceleration_limit.fget(robot)),
            (robot.joint_jerk_limit, franky.Robot.joint_jerk_limit.fget(robot)),
        ):
            limit.set(np.full(7, 3.0))
            np.testing.assert_array_equal(limit.get(), np.full(7, 3.0))
            np.testing.assert_array_equal(own.get(), own.max)
        robot.joint_velocity_limit.set(np.full(7, 1.0))
        np.testing.assert_array_equal(robot.joint_velocity_limit.get(), np.full(7, 1.0))
