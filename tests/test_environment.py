"""The environment that `make setup` and `make -s env` promise, seen from outside."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "env" / "requirements"
BARE = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin"}  # a shell that has sourced nothing


def run(*command, env=BARE, cwd=ROOT, **options):
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120, **options)


def exports(env=BARE):
    """What eval "$(make -s env)" would set, less make's own check that the set-up is up to date."""
    finished = run("env/exports.sh", env=env)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def variables(text):
    return dict(re.fullmatch(r"export (\w+)='(.*)'", line).groups() for line in text.splitlines())


# --- The exports ---


def test_nothing_but_export_lines():
    assert {"PATH", "PYTHONPATH", "AMENT_PREFIX_PATH", "VIRTUAL_ENV"} <= variables(exports()).keys()


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_any_shell_gets_packages_executables_and_vga(shell):
    script = """
        eval "$(env/exports.sh)"
        command -v vga policy_node camera_node franka_driver_node recorder_node || exit 1
        python -c 'import rclpy, vga_msgs.msg, vga_policy, vga_bringup, vga_teleop'
    """
    finished = run(shell, "-c", script)
    assert finished.returncode == 0, finished.stderr
    assert all(line.startswith(str(ROOT)) for line in finished.stdout.splitlines())


def test_python_works_when_another_environment_left_the_guard_of_the_ros_wheels(ros_domain):
    script = (
        'eval "$(env/exports.sh)"; python -c "import rclpy; rclpy.init(); rclpy.create_node(\'n\'); rclpy.shutdown()"'
    )
    finished = run(
        "bash", "-c", script, env={**BARE, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "ROS_DOMAIN_ID": str(ros_domain)}
    )
    assert finished.returncode == 0, finished.stderr


def test_a_second_eval_changes_nothing():
    once = exports()
    assert exports(env={**BARE, **variables(once)}) == once


def test_the_users_choices_are_kept():
    chosen = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "MUJOCO_GL": "osmesa"}
    assert variables(exports(env={**BARE, **chosen})).items() >= chosen.items()
    usual = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "MUJOCO_GL": "egl", "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    assert variables(exports()).items() >= usual.items()


def test_another_ros_does_not_leak_in():
    other = {"PYTHONPATH": "/opt/ros/humble/lib/python3.10/site-packages", "AMENT_PREFIX_PATH": "/opt/ros/humble"}
    assert "humble" not in exports(env={**BARE, **other})


# --- Set-up, where it must refuse ---


@pytest.fixture
def checkout(tmp_path):
    """A checkout in which nothing is set up."""
    shutil.copytree(ROOT / "env", tmp_path / "env")
    return tmp_path


def test_before_set_up_the_exports_say_so(checkout):
    finished = run("env/exports.sh", cwd=checkout)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == "env: nothing is set up yet: run make setup\n"


def test_unknown_purpose_names_the_known_ones(checkout):
    finished = run("env/setup.sh", "robots", cwd=checkout)
    assert finished.returncode == 1
    assert "unknown purpose 'robots'; known: robot runtime train" in finished.stderr


def test_old_python_is_refused_with_the_remedy(checkout):
    python = checkout / "python3.9"
    python.write_text("#!/bin/sh\necho 3.9\n")
    python.chmod(0o755)
    finished = run("env/setup.sh", "robot", cwd=checkout, env={**BARE, "PYTHON": str(python)})
    assert finished.returncode == 1
    assert f"Python 3.11 or 3.12 is needed; {python} is 3.9." in finished.stderr
    assert "PYTHON=python3.12 make setup" in finished.stderr
    assert not (checkout / ".venv").exists()


def test_a_target_may_want_more_of_the_system(checkout):
    """As make bench wants ffmpeg; here there is no such package, and nothing is installed."""
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("apt-get", "sudo"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    environment = {**BARE, "PATH": f"{tools}:{BARE['PATH']}", "SYSTEM_PACKAGES": "no-such-package"}
    finished = run("env/setup.sh", "robot", cwd=checkout, env=environment)
    assert finished.returncode == 1
    assert re.search(r"apt-get install .*no-such-package", finished.stderr)
    assert "SYSTEM_PACKAGES=ffmpeg" in run("make", "-n", "bench").stdout


# --- The locks ---


def pins(lock):
    lines = [line for line in (REQUIREMENTS / lock).read_text().splitlines() if not line.startswith("#")]
    return dict(re.match(r"([a-z0-9-]+)==([^ ]+)( ;.*)?$", line).group(1, 2) for line in lines)


def names(file):
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return {re.match(r"[\w-]+", line).group().lower() for line in lines if line}


def test_every_requirement_is_pinned_in_both_locks():
    files = set(REQUIREMENTS.glob("*.in"))
    assert len(files) == 12
    for file in files:
        assert names(file) <= pins("lock.txt").keys(), file
    for file in files - {REQUIREMENTS / "ros.in"}:
        assert names(file) <= pins("lock-apt.txt").keys(), file


def test_requirements_without_dependencies_are_exact():
    files = list(REQUIREMENTS.glob("*.no-deps.txt"))
    assert files
    for file in files:
        lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in lines if line), file


def test_numpy_is_the_one_apts_cv_bridge_was_built_for():
    assert pins("lock-apt.txt")["numpy"] == "1.26.4"
    assert pins("lock.txt")["numpy"].startswith("2.")


def test_the_robot_pc_needs_no_torch():
    assert not {"torch", "transformers"} & (names(REQUIREMENTS / "robot.in") | names(REQUIREMENTS / "build.in"))


# --- Continuous integration ---


def test_the_workflow_runs_what_anybody_can_run_on_every_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert set(job["strategy"]["matrix"]["python"]) == {"3.11", "3.12"}
    assert job["timeout-minutes"]


def test_the_workflow_pins_what_it_uses():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action) for action in used), used
