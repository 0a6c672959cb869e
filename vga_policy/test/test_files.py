"""What is written whole is as open to others as the umask says, whichever library writes it."""

import os
import tempfile

import numpy as np
import pytest
from safetensors.numpy import save_file
from vga_policy.files import whole_directory, whole_file, write_atomically


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def write_tensors(path):
    save_file({"a": np.zeros(3, np.float32)}, path)


def test_a_whole_file_has_the_umasks_mode(tmp_path, umask):
    path = tmp_path / "model.safetensors"
    for _ in range(2):  # new, and in place of an older one
        with whole_file(path) as unfinished:
            write_tensors(unfinished)
        assert mode(path) == 0o666 & ~umask
    write_atomically(tmp_path / "text", "words")
    assert mode(tmp_path / "text") == 0o666 & ~umask
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.safetensors", "text"]


def test_all_in_a_whole_directory_has_the_umasks_mode(tmp_path, umask):
    with whole_directory(tmp_path / "made") as unfinished:
        (unfinished / "below").mkdir()
        write_tensors(unfinished / "below" / "model.safetensors")
        os.close(tempfile.mkstemp(dir=unfinished)[0])
        (unfinished / "text").write_text("words")
    files = [path for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {mode(path) for path in files} == {0o666 & ~umask}


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(path) as unfinished:
        unfinished.write_text("half") and unfinished.rename(tmp_path / "none" / "file")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"
