"""`vga collect` by the ROS path: what is refused before anything is started."""

import pytest
from vga_policy.cli import main


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--task", "dance"], "dance"),
        (["--task", "pick_cube", "--perturb"], "need --in-process"),
        (["--task", "pick_cube", "--cell", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_collected_is_refused_at_once(tmp_path, capsys, options, complaint):
    assert main(["collect", "--episodes", "1", "--out", str(tmp_path / "out"), *options]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
