"""What other packages add: found by name, loaded when asked for, and blamed by name."""

import importlib
import sys

import pytest
from vga_policy.cli import main
from vga_policy.plugins import TASKS, TEXT_ENCODERS, PluginError
from vga_policy.text.registry import TEXT_ENCODERS as REGISTRY


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lays a distribution out as pip does, with one module."""

    def install(package, module, text, group, *entries):
        site = tmp_path / package
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{entry} = {module}:IT" for entry in entries)
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        (site / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()

    return install


def test_an_installed_name_is_found_and_nothing_is_imported_for_it(install):
    install("lab-a", "lab_a_one", "raise SystemError('no')", "vga.tasks", "wipe")
    assert TASKS.names()[-1] == "wipe"
    TASKS.require("wipe")
    assert "lab_a_one" not in sys.modules
    with pytest.raises(PluginError, match=r"task 'wipe' of lab-a .vga.tasks: wipe = lab_a_one:IT.: SystemError: no"):
        TASKS.load("wipe")


def test_a_broken_package_is_in_nobodys_way(install, capsys):
    install("lab-a", "lab_a_two", "raise SystemError('no')", "vga.tasks", "wipe", "sweep")
    with pytest.raises(SystemExit) as ended:
        main(["eval", "sim", "--help"])
    assert ended.value.code == 0
    with pytest.raises(PluginError, match=r"no task 'swep'; there are pick_cube, .*, sweep, wipe"):
        TASKS.require("swep")


def test_a_name_that_two_packages_offer_is_refused_with_both(install):
    install("lab-a", "lab_a_three", "IT = 1", "vga.tasks", "wipe")
    install("lab-b", "lab_b", "IT = 2", "vga.tasks", "wipe")
    with pytest.raises(PluginError, match=r"task 'wipe': lab-b .* and lab-a .* both offer it: uninstall one"):
        TASKS.load("wipe")


def test_nobody_takes_a_name_of_ours(install, capsys):
    install("lab-a", "lab_a_four", "IT = 1", "vga.tasks", "pick_cube")
    assert TASKS.named("pick_cube") == "pick_cube"
    assert capsys.readouterr().err == (
        "lab-a (vga.tasks: pick_cube = lab_a_four:IT): 'pick_cube' is a task of vga itself: ignored\n"
    )


def test_files_are_listed_for_children_too(tmp_path, monkeypatch):
    monkeypatch.setenv("VGA_TASKS", "")
    first, second = tmp_path / "wipe.py", tmp_path / "sweep.py"
    first.write_text("TASK = 1")
    second.write_text("TASK = 2")
    assert [TASKS.named(str(path)) for path in (first, second, first)] == ["wipe", "sweep", "wipe"]
    assert (TASKS.load("wipe"), TASKS.load("sweep")) == (1, 2)
    with pytest.raises(PluginError, match="no such file"):
        TASKS.named(str(tmp_path / "none.py"))
    taken = tmp_path / "pick_cube.py"
    taken.write_text("TASK = 3")
    with pytest.raises(PluginError, match="there is another task 'pick_cube': rename the file"):
        TASKS.named(str(taken))


def test_what_ends_python_at_import_is_told(install, tmp_path, monkeypatch):
    monkeypatch.setenv("VGA_TASKS", "")
    script = tmp_path / "script.py"
    script.write_text("import sys\nTASK = 1\nsys.exit(0)")
    install("lab-a", "lab_a_exits", "raise SystemExit('done')", "vga.tasks", "exits")
    for name, told in ((TASKS.named(str(script)), "SystemExit: 0"), ("exits", "SystemExit: done")):
        with pytest.raises(PluginError, match=told):
            TASKS.load(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("IT = 5", "is no dataclass"),
        ("from dataclasses import dataclass\n@dataclass\nclass IT:\n    width: int = 3", r"has no encode\(\)"),
    ],
)
def test_a_text_encoder_must_be_one(install, text, reason):
    name = f"toy_{len(text)}"
    install("lab-a", f"lab_{len(text)}", text, "vga.text_encoders", name)
    assert name in REGISTRY
    assert TEXT_ENCODERS.package(name) == "lab-a"
    with pytest.raises(PluginError, match=reason):
        REGISTRY[name]
