"""`vga curate` on a set with planted faults: each is found, each for its own reason, and no good episode suffers."""

import hashlib
import json
import os
import shutil

import pytest
from support.cells import SIM
from support.episodes import CLOSED, MadeEpisode
from vga_policy.cell.loading import dump_cell
from vga_policy.cli import main
from vga_policy.curation.curate import measure_episode, review
from vga_policy.episodes.decisions import FILE, Verdict, decision, usable

GOOD = 5
BASE = {"seconds": 4.0, "grasp": 2.0, "amplitude": 0.5}


class Pausing(MadeEpisode):
    """The arm stops in the middle of its way for half of the time."""

    def reference(self, time):
        return super().reference(min(time, 0.25 * self.seconds) + max(0.0, time - 0.75 * self.seconds))


class Jolted(MadeEpisode):
    """The command jumps once, by 0.1 rad within 30 ms."""

    def reference(self, time):
        joints = super().reference(time)
        joints[3] += 0.1 * min(max((time - 2.0) / 0.03, 0.0), 1.0)
        return joints


class Blocked(MadeEpisode):
    """Something holds the arm back."""

    def measured(self, time):
        return super().measured(min(time, 1.0))


FAULTS = {
    "frozen_camera": MadeEpisode(**BASE, frozen=("wrist", 1.0)),
    "gaps": MadeEpisode(**BASE, gap=(1.5, 2.5)),
    "jerk": Jolted(**BASE),
    "idle": Pausing(**{**BASE, "seconds": 8.0}),
    "outcome": MadeEpisode(**BASE, outcome="failure"),
    "duration": MadeEpisode(**{**BASE, "seconds": 8.2, "grasp": 4.0}),
    "follower": Blocked(**BASE),
    "rate": MadeEpisode(**BASE, fps=10.0),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Good episodes that differ as a person's do, and one episode a fault."""
    directory = tmp_path_factory.mktemp("set")
    for i in range(GOOD):
        options = {**BASE, "seconds": 3.6 + 0.25 * i, "amplitude": 0.45 + 0.05 * i}
        MadeEpisode(**options, seed=i).write(directory / f"good_{i}")
    for rule, episode in FAULTS.items():
        episode.write(directory / rule)
    return directory


@pytest.fixture
def episodes(recorded, tmp_path):
    """Three of them, to be written to (the bags are shared)."""
    directory = tmp_path / "set"
    for name in ("good_0", "gaps", "idle"):
        shutil.copytree(recorded / name, directory / name, copy_function=_link_bags)
    return directory


def _link_bags(source, target):
    if source.endswith(".mcap"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def contents(directory):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def reviewed(recorded):
    return {each.measured.path.name: each for each in review(recorded).assessments}


@pytest.mark.parametrize("rule", FAULTS)
def test_each_fault_is_found_for_its_own_reason(reviewed, rule):
    assessment = reviewed[rule]
    assert [finding.rule for finding in assessment.findings] == [rule]
    assert assessment.verdict is not Verdict.ACCEPT


@pytest.mark.parametrize("number", range(GOOD))
def test_no_good_episode_is_doubted(reviewed, number):
    assessment = reviewed[f"good_{number}"]
    assert assessment.findings == []
    assert assessment.verdict is Verdict.ACCEPT


def test_reasons_are_words_with_figures(reviewed):
    (frozen,) = reviewed["frozen_camera"].findings
    assert frozen.reason.startswith("wrist shows one picture for 2.9 s from 1.0 s while the arm moves 0.")
    (gap,) = reviewed["gaps"].findings
    assert "/joint_states for 1.0" in gap.reason
    assert "fixed_1 for 1.0" in gap.reason
    (idle,) = reviewed["idle"].findings
    assert "of the time between first and last motion" in idle.reason


def test_a_still_scene_is_no_frozen_camera(tmp_path):
    """Nothing moves, so every camera rightly shows the same."""
    made = MadeEpisode(seconds=1.0, amplitude=0.0, grasp=0.0, frozen=("fixed_1", 0.0)).write(tmp_path / "still")
    assert all(frozen.seconds == 0 for frozen in measure_episode(made).metrics.frozen.values())


class Lying(MadeEpisode):
    """For a second the arm is measured where it cannot be."""

    def measured(self, time):
        return super().measured(time) + (1e300 if 1.0 <= time < 2.0 else 0.0)


def test_measurements_that_are_not_believed_are_a_gap(tmp_path):
    found = measure_episode(Lying(**BASE).write(tmp_path / "lying")).metrics
    arrival = found.arrivals["/joint_states"]
    assert arrival.longest_gap == pytest.approx(1.01)
    assert arrival.gap_at == pytest.approx(0.99)
    assert found.following_error < 0.1


def test_rest_at_the_ends_is_left_out_as_a_view(tmp_path):
    made = MadeEpisode(seconds=6.0, rest=2.0, grasp=3.0, amplitude=0.5)
    path = made.write(tmp_path / "rests")
    before = contents(path)
    (assessment,) = review(tmp_path).assessments
    assessment.save()
    start, end = ((stamp - made.start_ns) / 1e9 for stamp in (assessment.curation.start_ns, assessment.curation.end_ns))
    assert 1.4 < start < 2.0  # 0.5 s before the arm has moved by what counts as motion
    assert 4.0 < end < 4.6
    assert decision(path).holds(made.start_ns + 3_000_000_000)
    assert not decision(path).holds(made.start_ns)
    after = contents(path)
    assert {path: digest for path, digest in after.items() if path.name != FILE} == before
    (whole,) = review(tmp_path, trim=False).assessments
    assert whole.curation.start_ns is whole.curation.end_ns is None


def test_the_command_writes_verdicts_and_one_page(episodes, tmp_path, capsys):
    before = contents(episodes)
    page = tmp_path / "report.html"
    assert main(["curate", str(episodes), "--out", str(page), "--jobs", "1"]) == 0
    assert "accept 1, review 0, reject 2, unusable 0" in capsys.readouterr().out
    assert usable(episodes / "good_0")
    assert not usable(episodes / "gaps")
    assert {path: digest for path, digest in contents(episodes).items() if path.name != FILE} == before
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") == 3 * 3 * 3  # episodes, cameras, frames
    assert 'src="http' not in html
    assert "no message on fixed_1 for 1.0" in html


def test_a_report_replaces_a_report_only_and_is_told_where_it_cannot_be_written(episodes, tmp_path, capsys):
    before = contents(episodes)
    for place in (episodes / "good_0" / "episode.yaml", episodes / "good_0" / "good_0_0.mcap"):
        with pytest.raises(SystemExit):
            main(["curate", str(episodes), "--out", str(place)])
        assert "must end in .html" in capsys.readouterr().err
    folder = tmp_path / "folder.html"
    folder.mkdir()
    with pytest.raises(SystemExit):
        main(["curate", str(episodes), "--out", str(folder)])
    assert "must be a file" in capsys.readouterr().err
    assert main(["curate", str(episodes), "--out", "/proc/report.html"]) == 1
    told = capsys.readouterr()
    assert "accept 1, review 0, reject 2, unusable 0" in told.out
    assert "vga curate: --out /proc/report.html: the report cannot be written: " in told.err
    assert main(["curate", str(episodes), "--out", "/proc/new/report.html"]) == 1
    assert capsys.readouterr().err.startswith("vga curate: /proc/new: ")
    assert {path: digest for path, digest in contents(episodes).items() if path.name != FILE} == before
    assert main(["curate", str(episodes), "--out", str(tmp_path / "new" / "report.html")]) == 0


def test_an_episode_that_is_accepted_and_cannot_be_read_is_told(tmp_path, capsys):
    path = MadeEpisode().write(tmp_path / "cut")
    (bag,) = path.glob("*.mcap")
    bag.write_bytes(bag.read_bytes()[:-1000])
    assert main(["curate", str(tmp_path), "--accept", "cut", "--reason", "mine"]) == 0
    told = capsys.readouterr().err
    assert "cut: accept\n" in told
    assert "kept, but nothing trains on it as it is: " in told
    assert "copy it again" in told


def test_a_person_overrules_and_takes_it_back(episodes, capsys):
    def verdict():
        assert main(["curate", str(episodes), "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        return next(each for each in data["episodes"] if each["id"] == "idle")

    assert main(["curate", str(episodes), "--accept", "idle", "--reason", "it waits for the kettle"]) == 0
    assert usable(episodes / "idle")
    accepted = verdict()
    assert (accepted["verdict"], accepted["proposed"]) == ("accept", "reject")
    assert accepted["decision_reason"] == "it waits for the kettle"
    assert main(["curate", str(episodes), "--reset"]) == 0
    assert not usable(episodes / "idle")


def test_an_unknown_episode_decides_nothing(episodes, capsys):
    before = contents(episodes)
    assert main(["curate", str(episodes), "--reject", "good_0", "nobody"]) == 1
    assert "no episode nobody" in capsys.readouterr().err
    assert main(["curate", str(episodes), "--reject", "good_0", "--accept", "good_0"]) == 1
    assert "two decisions at once" in capsys.readouterr().err
    assert contents(episodes) == before


def small(**options):
    return MadeEpisode(seconds=0.6, rest=0.1, grasp=0.3, **options)


def _backwards(made):
    messages = list(made._messages())
    for stamp in [message.header.stamp for _, topic, message in messages if topic == "/joint_states"][20:]:
        stamp.sec -= 1
    made._messages = lambda: messages


def test_bad_input_is_listed_and_the_rest_is_judged(recorded, tmp_path, capsys):
    directory = tmp_path / "mixed"
    shutil.copytree(recorded / "good_0", directory / "good")
    shutil.copytree(recorded / "good_1", directory / "truncated")
    bag = directory / "truncated" / "good_1_0.mcap"
    bag.write_bytes(bag.read_bytes()[: bag.stat().st_size // 2])
    (directory / "foreign").mkdir()
    (directory / "foreign" / "bag.db3").write_bytes(b"SQLite format 3\0" + bytes(100))
    small(topics=["/franka_driver/reference"]).write(directory / "without_images")
    small(outcome="splendid").write(directory / "unknown_label")
    reversed_stamps = small()
    _backwards(reversed_stamps)
    reversed_stamps.write(directory / "backwards")
    small(cell=SIM.model_copy(update={"control_rate_hz": 20.0})).write(directory / "other_cell")
    before = contents(directory)

    assert main(["curate", str(directory)]) == 0
    out, err = capsys.readouterr()
    assert "accept 1, review 0, reject 0, unusable 6" in out
    reasons = dict(line.split(": unusable: ", 1) for line in err.splitlines())
    assert "incomplete" in reasons["truncated"]
    assert "an SQLite bag" in reasons["foreign"]
    assert "no message on /cameras/fixed_1/color/image_raw/compressed" in reasons["without_images"]
    assert "outcome 'splendid': use one of success" in reasons["unknown_label"]
    assert "is 0.9" in reasons["backwards"] or "is 1.0" in reasons["backwards"]
    assert "another cell" in reasons["other_cell"]
    assert "control_rate_hz" in reasons["other_cell"]
    for name, reason in reasons.items():
        assert str(directory / name) in reason
    after = contents(directory)
    assert after.pop(directory / "good" / FILE)
    assert after == before


def test_the_cell_asked_for_decides_whose_episodes_count(episodes, tmp_path, capsys):
    cell = tmp_path / "cell.yaml"
    cell.write_text(dump_cell(SIM.model_copy(update={"control_rate_hz": 20.0})))
    assert main(["curate", str(episodes), "--cell", str(cell)]) == 1
    assert "no episode in it can be used" in capsys.readouterr().err


def test_nothing_to_judge(tmp_path, capsys):
    assert main(["curate", str(tmp_path)]) == 1
    assert f"no episode in {tmp_path}" in capsys.readouterr().err
    assert main(["curate", str(tmp_path / "nowhere")]) == 1
    assert "no such directory" in capsys.readouterr().err


def test_thresholds_of_ones_own(episodes, tmp_path, capsys):
    limits = tmp_path / "limits.yaml"
    limits.write_text("idle_inner: [0.7, 0.9]\nidle: [0.7, 0.9]\n")
    assert main(["curate", str(episodes), "--thresholds", str(limits)]) == 0
    assert usable(episodes / "idle")
    limits.write_text("idleness: [0.7, 0.9]\n")
    assert main(["curate", str(episodes), "--thresholds", str(limits)]) == 1
    assert "idleness" in capsys.readouterr().err


def test_grippers_count_as_motion(tmp_path):
    """An arm that stands still while its hand closes is at work."""
    made = MadeEpisode(seconds=2.0, amplitude=0.0, grasp=1.0)
    assert made.width(1.0) == CLOSED
    metrics = measure_episode(made.write(tmp_path / "grasp")).metrics
    assert 0 < metrics.duration < 1.5
    assert metrics.idle_share < 1


def test_the_share_of_corrections_is_shown_where_there_are_any(tmp_path):
    MadeEpisode().write(tmp_path / "plain")
    assert measure_episode(tmp_path / "plain").metrics.corrected_share == 0.0
    page = tmp_path / "curation.html"
    main(["curate", str(tmp_path), "--out", str(page)])
    assert "corrected</th>" not in page.read_text()
    MadeEpisode(taken_over=(1.5, 2.25)).write(tmp_path / "corrected")
    assert measure_episode(tmp_path / "corrected").metrics.corrected_share == pytest.approx(0.25, abs=0.01)
    main(["curate", str(tmp_path), "--out", str(page)])
    assert '<td class="number">25 %</td>' in page.read_text()


def test_a_decision_that_is_taken_while_episodes_are_measured_stays(tmp_path):
    MadeEpisode(seconds=2.0).write(tmp_path / "e0")
    (assessment,) = review(tmp_path).assessments
    assert main(["curate", str(tmp_path), "--reject", "e0", "--reason", "slipped"]) == 0
    assessment.save()
    kept = decision(tmp_path / "e0")
    assert (kept.decided, kept.decision_reason, kept.proposed) == (Verdict.REJECT, "slipped", Verdict.ACCEPT)
