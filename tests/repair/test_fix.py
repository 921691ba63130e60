"""A repair appears whole and proved, or not at all, and the source stays as it is."""

from __future__ import annotations

import math
import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from disk_factory import short_of_space
from fix_factory import (
    FLASH,
    H264,
    beep,
    hashes,
    lavfi,
    names,
    never,
    one_sentence,
    run_ffmpeg,
    shift,
    sync_ms,
)
from report_factory import said

from avsync.core.errors import CannotTell, MediaError, OutputError, UsageError
from avsync.core.options import CheckOptions, FixOptions
from avsync.core.report import Fault, Report
from avsync.media.ffmpeg import program
from avsync.media.probe import probe
from avsync.repair import fix, packets, remux
from avsync.repair.write import written

# --- Targets -----------------------------------------------------------------------------


def test_the_input_is_never_the_output_under_any_name(made, tmp_path: Path) -> None:
    src = tmp_path / "in.mp4"
    src.write_bytes(made("plain.mp4").read_bytes())
    (tmp_path / "soft.mp4").symlink_to(src)
    (tmp_path / "hard.mp4").hardlink_to(src)
    (tmp_path / "sub").mkdir()
    content = src.read_bytes()
    for target in (src, tmp_path / "soft.mp4", tmp_path / "hard.mp4", tmp_path / "sub" / ".." / "in.mp4"):
        with pytest.raises(UsageError, match="input itself"):
            shift(src, target, 120, force=True)
    assert src.read_bytes() == content


def test_an_existing_target_is_replaced_only_by_force(made, tmp_path: Path) -> None:
    dst = tmp_path / "out.mp4"
    dst.write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        shift(made("plain.mp4"), dst, 120)
    assert dst.read_text() == "precious"
    shift(made("plain.mp4"), dst, 120, force=True)
    assert probe(dst).video is not None
    assert names(tmp_path) == ["out.mp4"]


def test_places_where_no_file_can_be(made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    for target in ("file/out.mp4", "missing/out.mp4", "folder.mp4", "dangling.mp4", "x" * 300 + ".mp4"):
        with pytest.raises(UsageError) as error:
            shift(made("plain.mp4"), tmp_path / target, 120)
        one_sentence(error)
    with pytest.raises(UsageError, match="regular"):
        shift(made("plain.mp4"), Path("/dev/null"), 120, force=True)
    with pytest.raises(OutputError, match="cannot be written"):
        shift(made("plain.mp4"), Path("/proc/out.mp4"), 120)
    assert names(tmp_path) == ["dangling.mp4", "file", "folder.mp4"]


def test_a_file_that_may_not_grow_leaves_nothing(made, tmp_path: Path) -> None:
    src = made("plain.mkv")
    with short_of_space(), pytest.raises(OutputError, match="cannot be written") as error:
        shift(src, tmp_path / "out.mkv", 120)
    one_sentence(error)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_nothing(made, full_disk: Path) -> None:
    with pytest.raises(OutputError, match="No space left") as error:
        shift(made("plain.ts"), full_disk / "out.ts", 120)
    one_sentence(error)
    assert names(full_disk) == []


def test_a_source_that_is_still_being_written_leaves_nothing(made, tmp_path: Path) -> None:
    src = tmp_path / "in.ts"
    src.write_bytes(made("plain.ts").read_bytes())

    with written(remux.plan(probe(src), 120.0, tmp_path / "out.ts")) as copy:
        with src.open("ab") as file:
            file.write(bytes(188))
        with pytest.raises(MediaError, match="changed while it was copied"):
            copy.publish(replace=False)
    assert names(tmp_path) == ["in.ts"]


@pytest.mark.parametrize("force", [False, True])
def test_a_target_that_appears_meanwhile_is_replaced_only_by_force(made, tmp_path: Path, force: bool) -> None:
    dst = tmp_path / "out.ts"

    def progress(stage: str, done: float, total: float | None) -> None:
        if done > 0.9:
            dst.write_text("precious")

    options = FixOptions(offset_ms=120.0, force=force)
    if force:
        fix.fix_offset(made("plain.ts"), dst, options, measure=never, progress=progress)
        assert probe(dst).video is not None
    else:
        with pytest.raises(UsageError, match="appeared") as error:
            fix.fix_offset(made("plain.ts"), dst, options, measure=never, progress=progress)
        assert "--force" in one_sentence(error) and dst.read_text() == "precious"
    assert names(tmp_path) == ["out.ts"]


@pytest.mark.parametrize(("mode", "umask"), [(0o644, 0o022), (0o600, 0o022), (0o664, 0o027), (0o444, 0o022)])
def test_a_repaired_file_has_the_rights_of_its_source_less_the_umask(
    made, tmp_path: Path, mode: int, umask: int
) -> None:
    src = tmp_path / "in.mkv"
    src.write_bytes(made("plain.mkv").read_bytes())
    src.chmod(mode)
    before = os.umask(umask)
    try:
        shift(src, tmp_path / "out.mkv", 120)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.mkv").stat().st_mode) == mode & ~umask


@pytest.mark.parametrize("at", [0.0, 0.6])
def test_ctrl_c_leaves_nothing(made, tmp_path: Path, at: float) -> None:
    """While ffmpeg writes, and while the result is checked."""

    def progress(stage: str, done: float, total: float | None) -> None:
        if done >= at:
            raise KeyboardInterrupt

    planned = remux.plan(probe(made("plain.ts")), 120.0, tmp_path / "out.ts")
    with pytest.raises(KeyboardInterrupt), written(planned, progress):
        pass
    assert names(tmp_path) == []


def test_progress_goes_from_nought_to_one(made, tmp_path: Path) -> None:
    seen: list[tuple[str, float, float | None]] = []
    planned = remux.plan(probe(made("rich.mp4")), 120.0, tmp_path / "out.mp4")
    with written(planned, lambda *step: seen.append(step)):
        pass
    shares = [done for _, done, _ in seen]
    assert shares == sorted(shares) and shares[0] >= 0 and 0.9 < shares[-1] <= 1
    assert {(stage, total) for stage, _, total in seen} == {("fix", 1.0)}


@pytest.mark.parametrize(
    "name",
    [
        "a b'c\"d.mkv",
        "-y.mkv",
        "Tür 日本 🎬.mkv",
        "concat:a|b.mkv",
        "http:x.mkv",
        "100%03d.mkv",
        "$(touch evil);&.mkv",
        "new\nline.mkv",
        "é" * 120 + ".mkv",
    ],
)
def test_any_name_is_taken_literally(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As input, as output, and in the command of a dry run; with a cover, whose bytes are named too."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in", name).write_bytes(made("rich.mkv").read_bytes())
    Path("out").mkdir()
    monkeypatch.chdir("in")
    shift(Path(name), Path("..", "out", name), 120)
    assert names(tmp_path / "out") == [name]
    monkeypatch.chdir("../out")
    Path(name).rename("first.mkv")
    dry = shift(Path("..", "in", name), Path(name), 120, dry_run=True)
    assert not dry.written and names(tmp_path / "out") == ["first.mkv"]
    subprocess.run(["sh", "-c", dry.command], check=True, cwd="/")
    assert hashes(tmp_path / "out" / name) == hashes(Path("first.mkv").absolute())
    assert names(tmp_path / "out") == sorted(["first.mkv", name])
    assert names(tmp_path / "in") == [name]


# --- Bad sources and offsets -------------------------------------------------------------


def test_a_source_without_its_index_is_refused(made, tmp_path: Path) -> None:
    content = made("plain.mp4").read_bytes()
    (tmp_path / "in.mp4").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(MediaError) as error:
        shift(tmp_path / "in.mp4", tmp_path / "out.mp4", 120)
    one_sentence(error)
    assert names(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("name", ["fast.mp4", "plain.mkv", "plain.ts"])
def test_of_a_source_that_breaks_off_all_that_is_there_is_kept(made, tmp_path: Path, name: str) -> None:
    content = made(name).read_bytes()
    src, dst = tmp_path / f"in{Path(name).suffix}", tmp_path / f"out{Path(name).suffix}"
    src.write_bytes(content[: len(content) * 4 // 5])
    shift(src, dst, 120)
    assert sync_ms(dst) - sync_ms(src) == pytest.approx(120, abs=1)
    old, new = (packets.read_packets(packets.contents(path)) for path in (src, dst))
    assert [(p.count, p.digest) for p in new] == [(p.count, p.digest) for p in old]


def test_both_video_and_audio_are_needed(tmp_path: Path) -> None:
    run_ffmpeg(*lavfi(FLASH), *H264, tmp_path / "mute.mp4")
    run_ffmpeg(*lavfi(beep(1000)), tmp_path / "blind.mp4")
    with pytest.raises(MediaError, match="no audio track"):
        shift(tmp_path / "mute.mp4", tmp_path / "out.mp4", 120)
    with pytest.raises(MediaError, match="no video"):
        shift(tmp_path / "blind.mp4", tmp_path / "out.mp4", 120)
    with pytest.raises(MediaError, match="does not exist"):
        shift(tmp_path / "none.mp4", tmp_path / "out.mp4", 120)


@pytest.mark.parametrize("offset_ms", [math.nan, math.inf, 2500.0, -1e12])
def test_senseless_offsets(made, tmp_path: Path, offset_ms: float) -> None:
    with pytest.raises(UsageError) as error:
        shift(made("plain.mp4"), tmp_path / "out.mp4", offset_ms)
    one_sentence(error)
    assert names(tmp_path) == []


def test_a_track_that_is_not_there(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        shift(made("rich.mkv"), tmp_path / "out.mkv", 120, check=CheckOptions(audio_track=2))


def test_a_separate_audio_file_cannot_be_moved(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--audio"):
        shift(made("plain.mkv"), tmp_path / "out.mkv", 120, check=CheckOptions(audio=Path("x.wav")))


def test_an_offset_of_nought_writes_nothing(made, tmp_path: Path) -> None:
    result = shift(made("plain.mp4"), tmp_path / "out.mp4", 0)
    assert not result.written and result.command == "" and names(tmp_path) == []
    shift(made("plain.mp4"), tmp_path / "out.mp4", 0, force=True)
    assert hashes(tmp_path / "out.mp4") == hashes(made("plain.mp4"))


# --- Measured repairs --------------------------------------------------------------------

OUT = Report("in", "out-of-sync", 120.0, 8.0, 0.97, duration_s=60.0)
IN = Report("in", "in-sync", 4.0, 8.0, 0.97, duration_s=60.0)


class Measure:
    """Answers in turn, and remembers what it was asked about."""

    def __init__(self, *answers: Report) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, path: Path) -> Report:
        self.asked.append(path)
        assert path.is_file()
        return self.answers.pop(0)


def repair(made: Callable[[str], Path], folder: Path, measure: Measure, **options: Any) -> fix.FixResult:
    return fix.fix_offset(made("plain.mp4"), folder / "out.mp4", FixOptions(**options), measure=measure)


def test_the_measured_error_is_removed_and_the_result_measured_before_it_appears(
    made, tmp_path: Path
) -> None:
    measure = Measure(OUT, IN)
    result = repair(made, tmp_path, measure)
    assert measure.asked[0] == made("plain.mp4")
    assert measure.asked[1] not in (made("plain.mp4"), tmp_path / "out.mp4")
    assert result.written and result.offset_ms == 120.0
    assert result.report_before == OUT
    assert result.report_after == replace(IN, path=str(tmp_path / "out.mp4"))
    assert "120 ms early" in result.sentence and "4 ms early, within tolerance" in result.sentence
    assert sync_ms(tmp_path / "out.mp4") == pytest.approx(120, abs=1)
    assert names(tmp_path) == ["out.mp4"]


def test_in_tolerance_nothing_is_written_unless_forced(made, tmp_path: Path) -> None:
    result = repair(made, tmp_path, Measure(IN))
    assert not result.written and "within tolerance" in result.sentence and names(tmp_path) == []
    result = repair(made, tmp_path, Measure(IN, IN), force=True)
    assert result.written and result.offset_ms == 4.0


@pytest.mark.parametrize(
    "report",
    [
        Report("in", "cannot-tell", reasons=said("no face was found")),
        Report("in", "mismatch", reasons=said("weak peak")),
        Report("in", "out-of-sync", None, reasons=said("parts differ")),
        replace(OUT, offset_ms=10.0, reasons=said("its middle third is 200 ms late")),
        replace(OUT, drift_ms_per_min=-200.0),
        replace(OUT, contested=True, reasons=said("its first third does not fit the rest")),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_no_single_shift_mends_is_left_alone(made, tmp_path: Path, report: Report, force: bool) -> None:
    with pytest.raises(CannotTell) as error:
        repair(made, tmp_path, Measure(report), force=force)
    assert error.value.exit_code == 3 and "nothing is written" in one_sentence(error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("method", ["copy", "retime"])
def test_speech_of_another_take_is_neither_shifted_nor_retimed(made, tmp_path: Path, method) -> None:
    dubbed = (Fault(2.0, 5.0, None, None, 0.95, "severe", "mismatch"),)
    with pytest.raises(CannotTell, match="no shift of the audio repairs") as error:
        repair(made, tmp_path, Measure(replace(OUT, offset_ms=5.0, faults=dubbed)), method=method)
    assert "retime" not in one_sentence(error)
    assert names(tmp_path) == []


def test_drift_is_judged_by_what_it_does_over_the_whole_file(made, tmp_path: Path) -> None:
    """200 ms a minute is 10 ms either way over six seconds: one shift will do."""
    short = replace(OUT, drift_ms_per_min=200.0, duration_s=6.0)
    assert repair(made, tmp_path, Measure(short, IN)).written


def test_a_given_offset_is_trusted(made, tmp_path: Path) -> None:
    assert repair(made, tmp_path, Measure(), offset_ms=-40.0).written


@pytest.mark.parametrize(
    "after", [replace(OUT, offset_ms=240.0), replace(OUT, offset_ms=-120.0), Report("in", "mismatch")]
)
def test_a_result_that_looks_no_better_is_not_kept(made, tmp_path: Path, after: Report) -> None:
    with pytest.raises(CannotTell, match="Measured again") as error:
        repair(made, tmp_path, Measure(OUT, after))
    one_sentence(error)
    assert names(tmp_path) == []


def test_what_is_still_out_of_tolerance_is_shifted_again_by_the_rest(made, tmp_path: Path) -> None:
    """A first measurement may fall short; the second one tells by how much."""
    measure = Measure(OUT, replace(OUT, offset_ms=-70.0), IN)
    result = repair(made, tmp_path, measure)
    assert result.written and result.exit_code == 0
    assert result.offset_ms == 50.0 and "delayed the audio by 50 ms" in result.sentence
    assert sync_ms(tmp_path / "out.mp4") == pytest.approx(50, abs=1)
    assert names(tmp_path) == ["out.mp4"]


def test_better_but_not_in_sync_is_reported_and_exits_1(made, tmp_path: Path) -> None:
    measure = Measure(OUT, replace(OUT, offset_ms=-70.0), replace(OUT, offset_ms=65.0))
    result = repair(made, tmp_path, measure)
    assert result.written and result.exit_code == 1
    assert "better, but not in sync" in result.sentence


def test_a_rest_that_no_shift_removes_is_not_shifted(made, tmp_path: Path) -> None:
    fault = Fault(10.0, 20.0, -90.0, 8.0, 0.9, "severe")
    result = repair(made, tmp_path, Measure(OUT, replace(OUT, offset_ms=0.0, faults=(fault,))))
    assert result.written and result.exit_code == 1 and result.offset_ms == 120.0


def test_the_result_names_the_ffmpeg_that_wrote_it(made, tmp_path: Path) -> None:
    settings = shift(made("plain.mp4"), tmp_path / "out.mp4", 120).settings
    assert settings == {"method": "copy", "ffmpeg": program().version, "ffmpeg_program": program().path}


def test_a_result_that_cannot_be_judged_is_kept_and_reported(made, tmp_path: Path) -> None:
    after = Report("in", "cannot-tell", reasons=said("the evidence is weak"))
    result = repair(made, tmp_path, Measure(OUT, after))
    assert result.written and "After: the evidence is weak" in result.sentence


def test_an_unreadable_measurement_is_a_media_error(made, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be decoded"):
        repair(made, tmp_path, Measure(Report("in", "error", reasons=said("it cannot be decoded"))))


def test_an_impossible_target_is_refused_before_measuring(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        fix.fix_offset(made("pcm.avi"), tmp_path / "out.avi", FixOptions(), measure=never)


def test_a_dry_run_measures_and_writes_nothing(made, tmp_path: Path) -> None:
    result = repair(made, tmp_path, Measure(OUT), dry_run=True)
    assert not result.written and "delay the audio by 120 ms" in result.sentence
    assert "-itsoffset 0.12 " in result.command and names(tmp_path) == []
