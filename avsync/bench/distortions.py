"""Altered copies of in-sync videos: shifted by a known amount, re-encoded, with noise or music."""

from __future__ import annotations

import random
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile

from avsync.audio import waveform
from avsync.bench.noise import RATE_HZ, music, pink_noise
from avsync.core.constants import VIDEO_SUFFIXES
from avsync.core.errors import UsageError
from avsync.media.container import source
from avsync.media.ffmpeg import run_ffmpeg
from avsync.media.probe import probe

OWN = "own"
FRAME_RATES: tuple[Fraction | None, ...] = (
    Fraction(25),
    Fraction(24),
    Fraction(30000, 1001),
    Fraction(60),
    None,
)
"""Frame rates of the copies, in turn; None keeps the clip's own."""
MAX_SHIFT_MS = 400.0
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
ENCODINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "h264": (".mp4", (*X264, "-crf", "20", "-c:a", "aac", "-b:a", "128k")),
    "h264-low": (".mp4", (*X264, "-crf", "38", "-c:a", "aac", "-b:a", "48k")),
    "hevc": (".mp4", ("-c:v", "libx265", "-preset", "veryfast", "-x265-params", "log-level=error",
                      "-crf", "26", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k")),
    "mpeg4": (".mp4", ("-c:v", "mpeg4", "-q:v", "12", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k")),
    "vp9": (".webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "36",
                      "-b:v", "0", "-pix_fmt", "yuv420p", "-c:a", "libopus", "-b:a", "64k")),
}  # fmt: skip
"""Name -> file suffix and ffmpeg options."""


@dataclass(frozen=True)
class Condition:
    """What else is changed in a copy: its encoding, and noise or music at this speech-to-noise or
    speech-to-music ratio in dB (None: none)."""

    encoding: str = "h264"
    noise_db: float | None = None
    music_db: float | None = None

    @property
    def name(self) -> str:
        """For tables and JSON."""
        if self.noise_db is not None:
            return f"noise {self.noise_db:g} dB"
        return self.encoding if self.music_db is None else f"music {self.music_db:g} dB"


PLAIN = Condition()


@dataclass(frozen=True)
class Case:
    """One altered copy of a clip: its audio is `shift_ms` earlier (negative: later) than in the clip, where
    it is already `own_ms` early; stored at `fps`."""

    clip: Path
    shift_ms: float
    fps: Fraction | None
    condition: Condition = PLAIN
    own_ms: float = 0.0

    @property
    def early_ms(self) -> float:
        """By how much the copy's audio is early."""
        return self.own_ms + self.shift_ms


def find_clips(folder: Path) -> list[Path]:
    """Videos directly in `folder`, sorted. Raises UsageError when there is none."""
    clips = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    if not clips:
        raise UsageError(f"There is no video in {folder}; give a folder of clips that are in sync.")
    return clips


def parse_conditions(encode: str, noise: str, music: str) -> list[Condition]:
    """Comma-separated encodings, and dB of noise and of music -> one condition each.

    Raises UsageError for an unknown encoding or a level that is not a number.
    """
    conditions = []
    for name in _words(encode):
        if name not in ENCODINGS:
            raise UsageError(f"There is no encoding {name!r}; choose from {', '.join(ENCODINGS)}.")
        conditions.append(Condition(name))
    conditions += [Condition(noise_db=_decibels("--noise", word)) for word in _words(noise)]
    conditions += [Condition(music_db=_decibels("--music", word)) for word in _words(music)]
    if not conditions:
        raise UsageError("--encode, --noise and --music leave nothing to check; name an encoding.")
    return conditions


def parse_rates(text: str) -> tuple[Fraction | None, ...]:
    """Comma-separated frame rates such as 25, 30000/1001 or own -> rates; raises UsageError."""
    rates: list[Fraction | None] = []
    for word in _words(text):
        try:
            rate = None if word == OWN else Fraction(word)
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(
                f"{word} is not a frame rate; give numbers such as 25, 30000/1001, or own."
            ) from error
        if rate is not None and not 1 <= rate <= 240:
            raise UsageError(f"A frame rate lies between 1 and 240, not {word}.")
        rates.append(rate)
    return tuple(rates) or FRAME_RATES


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _decibels(option: str, word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise UsageError(f"{option} takes numbers of dB, comma-separated, not {word!r}.") from error


def plan_cases(
    clips: Sequence[Path],
    shifts: int,
    conditions: Sequence[Condition] = (PLAIN,),
    rates: Sequence[Fraction | None] = FRAME_RATES,
    seed: int = 0,
    known: Mapping[str, float] = MappingProxyType({}),
) -> list[Case]:
    """`shifts` cases per clip and condition: amounts drawn uniformly from -400..+400 ms, frame rates in turn.

    Clips that `known` does not name count as in sync. All conditions get the same shifts and rates, so that
    nothing else differs between them.
    """
    draw = random.Random(seed)  # noqa: S311 (not a secret)
    plain: list[Case] = []
    for clip in clips:
        for i in range(shifts):
            low = -MAX_SHIFT_MS + 2 * MAX_SHIFT_MS * i / shifts
            shift = draw.uniform(low, low + 2 * MAX_SHIFT_MS / shifts)
            rate = rates[len(plain) % len(rates)]
            plain.append(Case(clip, round(shift), rate, own_ms=known.get(clip.stem, 0.0)))
    return [replace(case, condition=condition) for condition in conditions for case in plain]


def suffix(case: Case) -> str:
    """The suffix of the copy's file name."""
    return ENCODINGS[case.condition.encoding][0]


def write_case(case: Case, target: Path) -> None:
    """Write the altered copy to `target`. Raises MediaError if ffmpeg fails."""
    seconds = abs(case.shift_ms) / 1000
    moved = f"atrim=start={seconds}" if case.shift_ms > 0 else f"adelay={seconds * 1000:.3f}:all=1"
    audio = f"[0:a:0]aresample=async=1:first_pts=0,{moved},asetpts=PTS-STARTPTS"
    # The filter takes the nearest frame; the option -r would let the video lag by up to a frame.
    rate = "" if case.fps is None else f",fps={case.fps}:round=near"
    video = f"[0:v:0]scale=trunc(iw/2)*2:trunc(ih/2)*2{rate}[v]"
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        under = _interference(case, Path(folder) / "under.wav")
        mixed = "[s];[s][1:a:0]amix=inputs=2:duration=first:normalize=0,volume=0.5" if under else ""
        command = [
            *["-y", "-i", source(case.clip)],
            *(["-i", source(under)] if under else []),
            *["-filter_complex", f"{video};{audio}{mixed}[a]", "-map", "[v]", "-map", "[a]"],
            *[*ENCODINGS[case.condition.encoding][1], source(target)],
        ]
        run_ffmpeg(command, f"re-encode {case.clip}")


def _interference(case: Case, path: Path) -> Path | None:
    """Write the noise or music to mix with the speech, at its level; None if there is none. Seeded by the
    clip's name and the shift, so that a case always has the same noise."""
    condition = case.condition
    level_db = condition.noise_db if condition.noise_db is not None else condition.music_db
    if level_db is None:
        return None
    make = pink_noise if condition.noise_db is not None else music
    length_s, rms = _loudness(case.clip)
    seed = zlib.crc32(f"{case.clip.name} {case.shift_ms}".encode())
    noise = make(length_s + MAX_SHIFT_MS / 1000 + 1, seed) * np.float32(rms * 10 ** (-level_db / 20))
    soundfile.write(path, noise, RATE_HZ, subtype="FLOAT")
    return path


@lru_cache(maxsize=8)
def _loudness(clip: Path) -> tuple[float, float]:
    """Duration of a clip's audio in seconds and its RMS, relative to full scale."""
    samples = waveform.waveform(probe(clip)).samples
    return len(samples) / waveform.SAMPLE_RATE, float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
