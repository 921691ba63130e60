"""Made programmes hold the defects that they are said to hold, and the figures count them."""

from dataclasses import replace

import numpy as np
import pytest

from avsync.bench.programme_clips import NOTHING, Material, jittered, load_material, material, save
from avsync.bench.programme_figures import (
    by_least_judged,
    by_size,
    document,
    reliability,
    robustness,
    summarise,
)
from avsync.bench.programme_outcomes import Outcome, outcome, run
from avsync.bench.programmes import SHARES, compose, script, still
from avsync.core.records import Clip, Waveform
from avsync.core.report import Report, Segment
from avsync.estimate.calibration import Calibration
from avsync.networks.checkpoint import load
from avsync.networks.scoring import score_clip


def a_clip(number: int, seconds: float = 8.0) -> Material:
    """A face and a voice that say the same random thing, told apart from others'; still in the last third."""
    rng = np.random.default_rng(number)
    frames = np.arange(round(seconds * 25))
    said = rng.normal(size=(2 * len(frames) + 2, 16)).astype(np.float32)
    said[1:-1:2] = said[:-2:2] + said[2::2]  # half a frame on, it resembles both neighbours
    said = said / np.linalg.norm(said, axis=1, keepdims=True) * 3.5
    motion = np.where(np.arange(len(frames)) < 2 * len(frames) // 3, 3.0, 0.3)
    audio_s = np.asarray(np.arange(len(said)) * 0.02, np.float64)
    return Material(
        f"s{number}/1", said[::2][: len(frames)], said[:0], frames, said, audio_s, frames / 25.0, motion,
        np.arange(0.02, seconds, 0.032), np.ones(len(np.arange(0.02, seconds, 0.032)), np.float32), 0.0,
    )  # fmt: skip


CLIPS = [a_clip(number) for number in range(8)]
CALIBRATION = Calibration(temperature=1.0, outlier=0.1, mismatch_level=-0.1)
SEEDS = range(12)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run(CLIPS, CALIBRATION, SEEDS)


def seed_of(kind: str) -> int:
    return next(seed for seed in range(1000) if script(CLIPS, seed).kind == kind)


def test_a_seed_always_makes_the_same_programme():
    one, other = compose(CLIPS, 3), compose(CLIPS, 3)
    assert (one.kind, one.duration_s, one.defects) == (other.kind, other.duration_s, other.defects)
    assert np.array_equal(one.looked.scores[0].logits, other.looked.scores[0].logits, equal_nan=True)


def test_a_programme_lasts_minutes_and_has_the_defects_of_its_kind():
    for kind in SHARES:
        programme = compose(CLIPS, seed_of(kind))
        assert programme.duration_s > 115
        assert bool(programme.defects) == (kind != "clean") or kind in ("offset", "scene", "scenes", "jump")
        if kind == "dubbed":
            assert [defect.offset_ms for defect in programme.defects] == [None]


@pytest.mark.slow
def test_programmes_of_clear_clips_are_judged_as_they_are_made(outcomes: list[Outcome]):
    figures = summarise(outcomes)
    assert figures["programmes"] == len(SEEDS)
    assert figures["false_alarms"] == 0
    assert figures["false_in_sync"] == 0
    assert figures["made_worse"] == 0
    assert len(document(outcomes)["programmes"]) == len(SEEDS)


@pytest.mark.slow
def test_several_processes_say_the_same(outcomes: list[Outcome]):
    assert run(CLIPS, CALIBRATION, SEEDS[:4], jobs=2) == outcomes[:4]


def test_a_report_that_says_in_sync_of_a_late_programme_is_counted_as_false():
    late = compose(CLIPS, seed_of("offset"))
    assert late.defective
    wrong = Report("x", "in-sync", 0.0, 20.0, 0.98, segments=(Segment(0, late.duration_s, 0.0, 20.0, 0.98),))
    judged = outcome(late, wrong)
    assert summarise([judged])["false_in_sync"] == 1
    assert judged.offset_right is False
    assert reliability([judged])["in-sync"] == [(pytest.approx(0.98), 0.0, 1)]


def test_a_fault_is_found_where_most_of_its_speech_has_the_right_offset():
    programme = compose(CLIPS, seed_of("jump"))
    (defect,) = programme.defects
    parts = (
        Segment(0, defect.start_s, programme.error_ms[0], 20, 0.98),
        Segment(defect.start_s, programme.duration_s, defect.offset_ms, 20, 0.98, fault=True),
    )
    right = Report("x", "out-of-sync", 0.0, 20.0, 0.98, segments=parts)
    (found,) = outcome(programme, right).defects
    assert found.found
    assert found.error_s == pytest.approx(0, abs=0.05)
    assert by_size([outcome(programme, right)])[0][3] == 1
    (missed,) = outcome(programme, Report("x", "in-sync", 0.0, 20.0, 0.98)).defects
    assert not missed.found


def test_clips_come_back_from_their_cache(tmp_path):
    save(CLIPS[0], tmp_path / "clip.npz")
    again = load_material(tmp_path / "clip.npz")
    assert (again.name, again.delay_ms) == ("s0/1", 0.0)
    assert np.array_equal(again.visual, CLIPS[0].visual)


def test_a_short_scene_is_seen_in_the_mirror_too():
    clip = replace(CLIPS[0], mirror=CLIPS[0].visual[::-1])
    both = (clip.visual + clip.mirror) / 2
    assert np.array_equal(clip.seen(4, 71), both[4:75])
    assert np.array_equal(clip.seen(4, 72), clip.visual[4:76])
    assert np.array_equal(clip.seen(len(both) - 30, 72), both[-30:])
    assert np.array_equal(CLIPS[0].seen(4, 71), clip.visual[4:75])


def test_a_short_scene_is_scored_as_its_clip_alone_would_be():
    loaded = load("avsync-4")
    rng = np.random.default_rng(0)
    mouths = rng.integers(0, 256, (60, 48, 96, 3), np.uint8)
    samples = rng.normal(0, 0.1, 60 * 640).astype(np.float32)
    found = replace(NOTHING, mouths=mouths, samples=samples)
    clip = material(found, "s/1", loaded, 0.0)
    seen, heard = clip.seen(0, 60), clip.audio[::2]
    starts = np.arange(56)
    whole = score_clip(loaded, Clip(0, 0.0, mouths, whole=True), starts, Waveform(samples, 0.0), 0)
    assert len(seen) == 56
    assert np.allclose((seen * heard[:56]).sum(1), whole[:, 0], atol=1e-4)


def test_a_listener_is_taken_from_where_the_mouth_is_still():
    first, length = still(CLIPS[0])
    assert first >= 2 * len(CLIPS[0].frames) // 3
    assert length > 40


def test_a_face_box_that_is_off_by_a_pixel_moves_the_crop_by_as_much():
    column = np.full((48, 96, 3), 10, np.uint8)
    column[:, 40:56] = 200
    mouths = np.repeat(column[None], 50, axis=0)
    moved = jittered(replace(NOTHING, mouths=mouths), 2.0, seed=3).mouths
    assert moved.shape == mouths.shape
    middles = [float((np.arange(96) * (row - 10.0)).sum() / (row - 10.0).sum()) for row in moved[:, 24, :, 0]]
    assert 0.2 < np.ptp(middles) < 4.5
    assert np.abs(np.diff(middles)).max() < 0.2
    assert np.abs(np.array(middles) - 47.5).max() < 2.5
    assert np.array_equal(jittered(replace(NOTHING, mouths=mouths), 0.0).mouths, mouths)


@pytest.mark.slow
def test_verdicts_that_change_with_the_face_boxes_are_counted(outcomes: list[Outcome]):
    same = robustness(outcomes, outcomes)
    assert same["verdict_changed"] == same["turned_out_of_sync"] == 0
    turned = [replace(o, verdict="mismatch") if o.verdict == "in-sync" else o for o in outcomes]
    calm = sum(o.verdict == "in-sync" for o in outcomes)
    assert robustness(outcomes, turned)["verdict_changed"] == pytest.approx(calm / len(outcomes))
    assert robustness(outcomes, turned)["turned_out_of_sync"] == 1
    assert robustness(outcomes, ()) == {}


@pytest.mark.slow
def test_the_less_speech_is_enough_the_more_is_called_in_sync(outcomes: list[Outcome]):
    half = [replace(o, judged_share=0.55, unlimited="in-sync") for o in outcomes]
    rows = {least: (wrong, unsure) for least, wrong, unsure in by_least_judged(half)}
    assert rows[0.5] == (1, 0)
    assert rows[0.6] == (0, 1)
