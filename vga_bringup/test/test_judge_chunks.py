"""The filter against MuJoCo's contacts, in small; in full: `python -m vga_bringup.judge.chunks`."""

import json

from vga_bringup.judge.chunks import main


def test_accepted_chunks_run_into_nothing(tmp_path, capsys):
    out = tmp_path / "chunks.json"
    assert main(["--count", "600", "--demonstrations", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["accepted"] > 30
    assert found["refused"]["self_collision"] > 5
    assert found["accepted"] + sum(found["refused"].values()) == 600
    assert not found["collided"]
    assert found["operator"][""] > 200
    assert found["operator"].get("self_collision", 0) == 0
    assert "refused for self-collision 0 (0.00%)" in capsys.readouterr().out
