"""A device that is missing costs a note, never the answer. No such device was available for tests."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from command import run
from media_factory import bar_clip

import avsync
from avsync.core.constants import Hwaccel
from avsync.core.errors import UsageError
from avsync.media.frames import frames
from avsync.media.hardware import on_device
from avsync.media.probe import probe


def missing() -> list[Hwaccel]:
    """Kinds that this FFmpeg was not built for."""
    kinds: list[Hwaccel] = ["vaapi", "videotoolbox", "d3d11va", "d3d12va"]
    return [kind for kind in kinds if kind not in hwdevices_available()]


def test_a_kind_that_is_missing_leaves_the_video_to_the_processor(tmp_path: Path):
    media = probe(bar_clip(tmp_path / "a.mp4", seconds=0.4))
    assert missing()
    for kind in missing():
        assert on_device(media, kind) == media
    assert on_device(media, "off") == media


def test_auto_takes_a_device_only_where_it_decodes(tmp_path: Path):
    media = probe(bar_clip(tmp_path / "a.mp4", seconds=0.4))
    chosen = on_device(media, "auto")
    assert chosen.video is not None and media.video is not None
    assert chosen.video.device in (None, *hwdevices_available())
    assert replace(chosen.video, device=None) == media.video
    assert [f.time_s for f in frames(chosen)] == [f.time_s for f in frames(media)]


@pytest.mark.parametrize("kind", get_args(Hwaccel))
def test_each_kind_by_name_leaves_what_it_cannot_decode_to_the_processor(tmp_path: Path, kind: Hwaccel):
    media = probe(bar_clip(tmp_path / "a.mp4", seconds=0.4))
    chosen = on_device(media, kind)
    assert [f.time_s for f in frames(chosen)] == [f.time_s for f in frames(media)]


@pytest.mark.parametrize("kind", hwdevices_available())
def test_a_device_that_fails_leaves_the_video_to_the_processor(tmp_path: Path, kind: str):
    """As one that is gone once it was found. Where there is one, it decodes it all."""
    media = probe(bar_clip(tmp_path / "a.mp4", seconds=1))
    assert media.video is not None
    failing = replace(media, video=replace(media.video, device=kind))
    found, wanted = list(frames(failing)), list(frames(media))
    assert [f.time_s for f in found] == [f.time_s for f in wanted]
    assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(found, wanted, strict=True)) < 3


@pytest.mark.parametrize(("kind", "device"), [("cuda", "/dev/nvidiactl"), ("qsv", "/dev/dri")])
def test_a_machine_without_the_device_says_so_and_goes_on(early: Path, kind: str, device: str):
    """Kinds that this FFmpeg was built for."""
    if kind not in hwdevices_available() or Path(device).exists():
        pytest.skip(f"only for an FFmpeg with {kind} on a machine without {device}")
    plain, asked = run("check", early, "--stride", 5), run("check", early, "--stride", 5, "--hwaccel", kind)
    assert asked.exit_code == plain.exit_code
    note = f"  note: the processor decoded the video, since {kind} cannot"
    assert [line for line in asked.stdout.splitlines() if line not in plain.stdout.splitlines()] == [note]


def test_the_report_says_that_the_processor_decoded(early: Path):
    plain = avsync.check(early, stride=5)
    asked = avsync.check(early, stride=5, hwaccel=missing()[0])
    assert asked.offset_ms == plain.offset_ms
    assert [r.kind for r in asked.reasons if r not in plain.reasons] == ["no-hardware-decoding"]


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="hwaccel"):
        avsync.check("a.mp4", hwaccel="abacus")  # pyright: ignore[reportArgumentType]
