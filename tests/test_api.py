"""What Python users call: verdicts of one and many files, the stages one by one, records to keep."""

import json
import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from report_factory import FAULT, a_report
from talk_factory import EARLY_MS, Talk

import avsync
from avsync.core.document import COLUMNS
from avsync.core.errors import MediaError, ModelError, OptionError, UsageError
from avsync.core.report import Report, Unjudged
from avsync.networks.base import Preprocessing
from avsync.networks.checkpoint import Loaded
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST
from avsync.report.document import to_json

PAPERS = Dims(channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2)


@pytest.fixture(scope="module")
def video(talk: Talk) -> Path:
    return talk(EARLY_MS, duration_s=8)


@pytest.fixture(scope="module")
def model() -> Loaded:
    return avsync.load_model("avsync-4", "cpu")


@pytest.fixture(scope="module")
def report(video: Path) -> Report:
    return avsync.check(video)


# --- One file and many ---------------------------------------------------------------------


def test_a_loaded_model_gives_the_answer_of_its_name(video: Path, model: Loaded, report: Report):
    assert report.offset_ms == pytest.approx(EARLY_MS, abs=20)
    again = avsync.check(video, model=model)
    assert (again.verdict, again.model) == (report.verdict, "avsync-4")
    assert again.offset_ms == pytest.approx(report.offset_ms, abs=5)  # PyTorch rather than the compiled form


def test_a_loaded_model_repairs(video: Path, model: Loaded, tmp_path: Path):
    result = avsync.fix_offset(video, tmp_path / "fixed.mp4", model=model)
    assert result.report_after is not None
    assert result.report_after.verdict == "in-sync"


@pytest.mark.slow
def test_many_files_give_a_report_each_and_tell_how_far_they_are(video: Path, tmp_path: Path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    told: list[tuple[Path, str]] = []
    reports = list(
        avsync.check_many(
            [video, tmp_path],
            standard="itu",
            progress=lambda file, stage, *_: told.append((file, stage)),
        )
    )
    assert {Path(report.path).name: report.verdict for report in reports} == {
        video.name: "out-of-sync",
        "broken.mp4": "error",
    }
    assert (video, "faces") in told


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"standard": "smpte"}, OptionError),
        ({"model": "no-such"}, ModelError),
        ({"engine": "local", "stride": 0}, OptionError),
    ],
)
def test_a_wrong_option_of_many_is_refused_before_the_first_report(options: dict, error: type, video: Path):
    with pytest.raises(error):
        avsync.check_many([video], **options)


def test_a_folder_without_videos_is_refused_at_once(tmp_path: Path):
    with pytest.raises(MediaError, match="No video file"):
        avsync.check_many([tmp_path])


def test_the_log_says_what_was_found(video: Path, caplog: pytest.LogCaptureFixture, model: Loaded):
    with caplog.at_level(logging.INFO, logger="avsync"):
        avsync.check(video, model=model)
    assert any(f"{video.name}: out-of-sync" in record.getMessage() for record in caplog.records)


# --- The stages ----------------------------------------------------------------------------


def test_tracks_crops_and_scores_speak_of_the_same_faces(video: Path, model: Loaded):
    (track,) = avsync.face_tracks(video)
    clips = list(avsync.mouth_crops(video))
    (scores,) = avsync.score_matrix(video, model=model, max_offset_ms=400)
    assert {clip.track for clip in clips} == {track.track} == {scores.track}
    assert all(clip.mouths.shape[1:] == (48, 96, 3) and clip.mouths.dtype == np.uint8 for clip in clips)
    assert all(len(clip.mouths) <= 129 for clip in clips)
    assert clips[0].start_s == pytest.approx(track.start_s)
    for before, after in pairwise(clips):  # four frames in common: no window is lost
        assert after.start_s == pytest.approx(before.start_s + (len(before.mouths) - 4) / 25)
    windows = sum(len(clip.mouths) - 4 for clip in clips)
    assert scores.logits.shape == (windows, 21)
    best = scores.shifts[np.nanmean(scores.logits, axis=0).argmax()]
    assert -40 * best == pytest.approx(EARLY_MS, abs=40)


def test_a_part_of_a_video_keeps_the_times_of_the_whole(video: Path, model: Loaded):
    (scores,) = avsync.score_matrix(video, model=model, start_s=2.0, end_s=4.0, stride=5, max_offset_ms=80)
    assert scores.times_s.min() >= 1.99
    assert scores.times_s.max() + 0.2 <= 4.05
    assert np.allclose(np.diff(scores.times_s), 0.2)


def test_the_products_of_embeddings_are_the_scores(video: Path, model: Loaded):
    (scores,) = avsync.score_matrix(video, model=model, max_offset_ms=80, stride=10)
    (embedded,) = avsync.embed(video, model=model, stride=10)
    assert np.array_equal(embedded.times_s, scores.times_s)
    there = np.isfinite(embedded.audio[:, 0])
    dots = (embedded.visual * embedded.audio).sum(1)
    np.testing.assert_allclose(dots[there], scores.logits[there, 2], atol=0.05)


def test_every_second_has_an_offset_and_a_probability(video: Path, model: Loaded):
    (scores,) = avsync.score_matrix(video, model=model, max_offset_ms=400)
    seconds, windows = avsync.moments(scores, model=model), avsync.moments(scores, model=model, every_s=None)
    assert len(windows.times_s) == len(scores.times_s)
    assert np.median(seconds.offset_ms) == pytest.approx(EARLY_MS, abs=40)
    assert ((seconds.probability > 0) & (seconds.probability <= 1)).all()
    with pytest.raises(UsageError, match="every_s"):
        avsync.moments(scores, model=model, every_s=0)


def test_a_model_without_embeddings_says_so(video: Path):
    papers = Loaded(VocaLiST(PAPERS).eval(), Preprocessing(), "papers", Path("papers.pth"))
    with pytest.raises(ModelError, match="no embeddings"):
        avsync.embed(video, model=papers)


@pytest.mark.parametrize("stage", [avsync.face_tracks, avsync.mouth_crops, avsync.score_matrix, avsync.embed])
def test_a_stage_refuses_what_it_cannot_use_before_it_begins(stage: Callable, video: Path, tmp_path: Path):
    with pytest.raises(UsageError):
        stage(video, face_detector="eyes")
    with pytest.raises(OptionError, match="end_s"):
        stage(video, start_s=3, end_s=2)
    with pytest.raises(MediaError):
        stage(tmp_path / "missing.mp4")


# --- Records -------------------------------------------------------------------------------


def test_a_report_goes_through_json_and_back(report: Report):
    document = json.loads(json.dumps(report.to_dict()))
    again = Report.from_dict(document)
    assert again.to_dict() == document
    assert again == Report.from_dict(document)
    assert again.verdict == report.verdict
    assert again in {again}


def test_the_document_is_that_of_the_command_without_its_sentences(report: Report):
    printed = json.loads(to_json([report], many=False))
    assert Report.from_dict(printed).to_dict() == report.to_dict()
    assert printed.keys() - report.to_dict().keys() == {"summary"}


@pytest.mark.parametrize(
    "document", [{}, {"schema": 99}, {"schema": 1, "path": "x"}, {"schema": 1, "tracks": 3}]
)
def test_what_is_not_a_report_is_refused(document: dict):
    with pytest.raises(ValueError, match="document"):
        Report.from_dict(document)


def test_a_report_becomes_a_table_of_stretches():
    pd = pytest.importorskip("pandas")
    from dataclasses import replace

    made = replace(a_report(), faults=(FAULT,), unjudged=(Unjudged(61.0, 70.0, "no-face"),))
    frame = made.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["kind"]) == ["judged", "fault", "judged", "unjudged"]
    assert frame["start_s"].is_monotonic_increasing
    assert len(Report("x.mp4", "error").to_frame().columns) == len(COLUMNS)


def test_torch_is_left_as_it_was(video: Path, model: Loaded):
    before = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
    avsync.check(video, model=model)
    assert before == (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
