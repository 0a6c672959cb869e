"""What a run of the judge consists of, and the arm that it simulates."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from support.cells import SIM
from vga_bringup.judge.__main__ import again, plan
from vga_bringup.judge.bench import Notes
from vga_bringup.judge.evaluation import Findings
from vga_bringup.judge.robot.model import write_model
from vga_bringup.judge.scenarios import CHUNKS, SCENARIOS, scenario
from vga_bringup.judge.session import Outcome, Session
from vga_bringup.robot.bounds.kinematics import FINGERTIPS, FLANGE, Kinematics


def test_a_full_run_tries_every_mode_cell_and_speed_with_a_thousand_random_chunks():
    random = [session for session in plan(quick=False) if "random" in session.scenarios and not session.enforce]
    tried = {(session.tracking, session.cell, session.speed) for session in random}
    assert tried == {(t, c, s) for t in ("velocity", "impedance") for c in ("lab", "sim") for s in (0.5, 1.0)}
    assert CHUNKS * len(random) >= 1000
    assert {session.tracking for session in plan(quick=False) if session.enforce} == {"velocity", "impedance"}
    for tracking in ("velocity", "impedance"):
        shown = {name for session in plan(quick=False) if session.tracking == tracking for name in session.scenarios}
        assert shown == set(SCENARIOS)


def test_a_quick_run_is_one_cell_in_velocity_mode():
    assert {(session.cell, session.tracking) for session in plan(quick=True)} == {("lab", "velocity")}


def test_a_scenario_is_added_by_its_name(monkeypatch):
    monkeypatch.setattr("vga_bringup.judge.scenarios.SCENARIOS", added := {})

    @scenario("wave")
    def wave(bench):
        bench.home()

    assert added == {"wave": wave}


def test_what_lost_too_many_cycles_is_repeated_as_far_as_there_is_time():
    session = Session("lab", "velocity", 1.0, ("home", "random", "ends"))
    other = replace(session, speed=0.5)
    none = np.zeros((0, 7))

    def outcome(of, name, lost):
        return Outcome(of, name, 1, 10.0, Notes(), Findings(due=100, lost=lost), none, none)

    outcomes = [outcome(session, "home", 4), outcome(session, "random", 1), outcome(session, "ends", 9)]
    outcomes.append(outcome(other, "home", 3))
    assert again([session, other], outcomes, seconds=60.0) == [session.only(["home", "ends"])]
    assert again([session, other], outcomes, seconds=15.0) == [session.only(["home"])]
    assert again([session, other], outcomes, seconds=5.0) == []


def test_the_simulated_arm_is_where_the_drivers_kinematics_say(tmp_path):
    write_model(tmp_path / "fr3.xml")
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "fr3.xml"))
    data = mujoco.MjData(model)
    arm = SIM.arm
    kinematics = Kinematics(arm)
    rng = np.random.default_rng(0)
    for q in rng.uniform(arm.limits.lower, arm.limits.upper, (5, 7)):
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        last = data.body("fr3_link7")
        tcp = last.xpos + (FLANGE + FINGERTIPS) * last.xmat.reshape(3, 3)[:, 2]
        np.testing.assert_allclose(tcp, kinematics.tcp(q).position, atol=1e-4)
    assert model.body_mass.sum() == pytest.approx(15.5, abs=1.0)  # its moving links weigh that many kg
    assert all(data.geom(f"fr3_link{link}_collision").id >= 0 for link in range(8))  # franka-sim asks for them by name
