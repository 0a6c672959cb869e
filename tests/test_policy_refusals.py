"""What the policy node cannot be set up with: it ends with one line a fault, before anything moves."""

import subprocess

import pytest
from support.cells import PANDA_FILE, SIM_FILE
from vga_policy.checkpoints import locate

DEADLINE = 60.0

pytestmark = pytest.mark.usefixtures("ros_domain")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("image_transport:=theora", "'image_transport' must be compressed or raw (found 'theora')"),
        ("checkpoint:=/nowhere", "/nowhere: no such directory"),
        ("views:=[fixed_1,top]", "no camera 'top' in cell 'sim'"),
    ],
)
def test_what_cannot_be_set_up_ends_with_one_line(given, said):
    assert_refused(said, "-p", given)


def test_a_panda_gets_no_policy_of_an_fr3():
    nano = locate("nano")
    said = f"{nano}: made for another cell than 'lab_panda': arm.model: 'panda' here, 'fr3' there"
    assert_refused(said, "-p", f"checkpoint:={nano}", cell=PANDA_FILE)


def test_every_fault_of_a_cell_file_is_a_line(tmp_path):
    faulty = tmp_path / "cell.yaml"
    faulty.write_text(SIM_FILE.read_text().replace("version: 1", "version: 3").replace("name: sim", "names: sim"))
    assert_refused("cell.yaml: ", cell=faulty, lines=3)


def assert_refused(said, *arguments, cell=SIM_FILE, lines=1):
    command = ["policy_node", "--ros-args", "-p", f"cell:={cell}", *arguments]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    errors = [line for line in ended.stderr.splitlines() if not line.startswith("[")]
    assert ended.returncode == 2, errors
    assert len(errors) == lines, errors
    assert all(said in line for line in errors)
