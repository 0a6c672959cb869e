"""Verdicts beside the data: who wins, what is trained on, and what happens to a damaged file."""

from dataclasses import replace

import pytest
from vga_policy.episodes.decisions import FILE, Curation, CurationError, Verdict, decide, decision, usable
from vga_policy.episodes.listing import why_unusable
from vga_policy.episodes.metadata import Episode, load_episode


@pytest.fixture
def episode(tmp_path):
    Episode("e1", "pick_cube", "pick the cube", "ann", 0, "name: x", outcome="success").save(tmp_path)
    return tmp_path


def test_before_curation_the_label_decides(episode):
    assert decision(episode) == Curation()
    assert usable(episode)
    Episode("e1", "pick_cube", "pick the cube", "ann", 0, "name: x", outcome="failure").save(episode)
    assert not usable(episode)


@pytest.mark.parametrize(
    ("verdict", "used"), [(Verdict.ACCEPT, True), (Verdict.REVIEW, False), (Verdict.REJECT, False)]
)
def test_only_accepted_episodes_are_used(episode, verdict, used):
    Curation(proposed=verdict).save(episode)
    assert usable(episode) is used


@pytest.mark.parametrize("outcome", ["failure", "discarded"])
def test_a_label_that_is_corrected_after_curation_counts_unless_a_person_decided(episode, outcome):
    Curation(proposed=Verdict.ACCEPT).save(episode)
    replace(load_episode(episode), outcome=outcome).save(episode)
    assert not usable(episode)
    assert why_unusable(episode).kind == outcome
    decide(episode, Verdict.ACCEPT, "good enough")
    assert usable(episode)


def test_a_person_wins_and_can_take_it_back(episode):
    proposal = Curation(Verdict.REJECT, ["idle for half of the time"], start_ns=5, end_ns=9)
    proposal.save(episode)
    assert decide(episode, Verdict.ACCEPT, "the pause is meant").verdict is Verdict.ACCEPT
    assert usable(episode)
    assert decision(episode).reasons == ["idle for half of the time"]
    decide(episode, None)
    assert decision(episode) == proposal


def test_the_part_to_train_on_is_a_view():
    part = Curation(start_ns=10, end_ns=20)
    assert [stamp for stamp in (9, 10, 20, 21) if part.holds(stamp)] == [10, 20]
    assert Curation().holds(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proposed: perhaps", "proposed: .* 'accept', 'review' or 'reject' \\(found 'perhaps'\\)"),
        ("verdict: accept", "unknown key 'verdict'"),
        ("start_ns: 1.5", "start_ns: .* \\(found 1.5\\)"),
        ("start_ns: -1", "start_ns: .* \\(found -1\\)"),
        ("{start_ns: 7, end_ns: 6}", "start_ns 7 is after end_ns 6"),
        ("reasons: idle", "reasons: .* \\(found 'idle'\\)"),
        ("reasons: [1]", "reasons.0: .* \\(found 1\\)"),
        ("reasons: " + "[" * 10_000, "nested more than 50 deep"),
        ("- 1", "found list"),
        ("{", "cannot be read"),
        ("start_ns: soon", "soon"),
    ],
)
def test_a_damaged_file_is_named_not_ignored(episode, text, message):
    (episode / FILE).write_text(text)
    with pytest.raises(CurationError, match=message) as error:
        usable(episode)
    assert str(episode / FILE) in str(error.value)
