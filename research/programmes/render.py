"""Made programmes as real files, checked and repaired for real, beside the answers to the composed ones.

    python research/programmes/render.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json --out build/rendered --seeds 11004 11005 11016

Each programme costs a few minutes of one core. Its file stays in OUT, and its outcome is a line of
OUT/outcomes.jsonl; what is there already is not made again. Prints a table of all outcomes.
"""

from __future__ import annotations

import json
import subprocess
import wave
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import given
import numpy as np

from avsync import fix_offset
from avsync.bench.programme_clips import Footage, Material, load_footage
from avsync.bench.programme_outcomes import Outcome, judged, outcome
from avsync.bench.programmes import Scene, Script, composed, script
from avsync.core.constants import FRAME_S, SAMPLE_RATE
from avsync.core.errors import AvsyncError
from avsync.core.options import check_options
from avsync.estimate.calibration import Calibration
from avsync.media.ffmpeg import ffmpeg_path
from avsync.pipeline.run import measure

SIZE = 640, 360
INSET = 140
"""Height and width of a picture in picture, in its lower right corner."""


def main() -> None:
    parser = given.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clips, calibration = given.material(options)
    paths = {
        f"{path.parent.name}/{path.stem}": path for folder in options.data for path in folder.rglob("*.mp4")
    }
    results = options.out / "outcomes.jsonl"
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for seed in options.seeds:
        if seed in {line["seed"] for line in known}:
            continue
        line = one(seed, clips, paths, options.cache, options.out, calibration, options.model)
        known.append(line)
        with results.open("a") as file:
            print(json.dumps(line), file=file)
    for row in table(known):
        print("| " + " | ".join(row) + " |")


def one(
    seed: int,
    clips: list[Material],
    paths: Mapping[str, Path],
    cache: Path,
    out: Path,
    calibration: Calibration,
    model: str,
) -> dict[str, Any]:
    """Render, check and repair one programme."""
    path, written = out / f"{seed}.mp4", script(clips, seed)
    if not path.exists():
        render(written, paths, cache, path)
    programme = composed(clips, written, seed)
    expected = outcome(programme, judged(programme, calibration))
    fixed = out / f"{seed}-fixed.mp4"
    after: object = None
    try:
        result = fix_offset(path, fixed, method="retime", sample="exhaustive", model=model)
        report = result.report_before
        if result.report_after is not None:
            found = result.report_after
            after = found.verdict, [(f.start_s, f.end_s, f.offset_ms) for f in found.faults]
    except AvsyncError as error:
        after = str(error)
        report = measure(path, check_options(sample="exhaustive", model=model))
    fixed.unlink(missing_ok=True)
    assert report is not None  # noqa: S101 - it was measured
    return {
        "seed": seed,
        "kind": str(written.kind),
        "insets": sum(scene.beside is not None and scene.beside[1] == 0 for scene in written.scenes),
        "two": sum(scene.beside is not None and scene.beside[1] > 0 for scene in written.scenes),
        "narrated": sum(scene.face is None for scene in written.scenes),
        "seconds": programme.duration_s,
        "composed": brief(expected),
        "rendered": brief(outcome(programme, report)),
        "faults": [(f.start_s, f.end_s, f.offset_ms) for f in report.faults],
        "reasons": [(r.kind, dict(r.values)) for r in report.reasons],
        "offset_ms": report.offset_ms,
        "repaired": after,
    }


def brief(found: Outcome) -> dict[str, object]:
    """The part of an outcome that is compared."""
    return {
        "verdict": found.verdict,
        "defective": found.defective,
        "drift": (found.drift_ms_per_min, found.told_drift_ms_per_min),
        "defects": [asdict(each) for each in found.defects],
        "repair": asdict(found.repair),
        "judged_share": found.judged_share,
    }


def table(outcomes: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Composed beside rendered, a row for each programme, the first of which names the columns."""
    rows: list[tuple[str, ...]] = [
        ("seed", "kind", "seconds", "insets, two faces, narrated", "composed", "rendered", "repaired")
    ]
    for line in outcomes:
        company = f"{line['insets']}, {line['two']}, {line['narrated']}"
        answers = (answer(line[name]) for name in ("composed", "rendered"))
        repaired = line["repaired"]
        after = repaired[0] if isinstance(repaired, list | tuple) else "-" if repaired is None else "declined"
        rows.append((str(line["seed"]), line["kind"], f"{line['seconds']:.0f}", company, *answers, after))
    return rows


def answer(found: Mapping[str, Any]) -> str:
    """A verdict, with how many of the defects that count were found, and the error of their worst end."""
    said, (true, told) = str(found["verdict"]), found["drift"]
    counted = [each for each in found["defects"] if each["defect"]["counts"]]
    named = [each["told_s"] for each in counted if each["found"]]
    if counted:
        said += f", {len(named)} of {len(counted)} found"
    if named:
        said += f" within {max(named):.2f} s"
    return said + (f", {told or 0:.0f} of {true:.0f} ms a minute" if true else "")


def render(written: Script, paths: Mapping[str, Path], cache: Path, path: Path) -> None:
    """The programme as H.264 and AAC."""
    parts = []
    for i, scene in enumerate(written.scenes):
        parts.append(path.with_name(f"{path.stem}-{i}.mkv"))
        run(*shot(scene, paths), "-t", f"{scene.frames * FRAME_S:.3f}", "-r", "25", "-c:v", "ffv1", parts[-1])
    listed = path.with_suffix(".txt")
    listed.write_text("".join(f"file '{part.name}'\n" for part in parts))
    sound = path.with_suffix(".wav")
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((soundtrack(written, cache).clip(-1, 1) * 32767).astype("<i2").tobytes())
    run("-f", "concat", "-i", listed, "-i", sound, "-c:v", "libx264", "-crf", "20", "-preset", "veryfast",
        "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k", path)  # fmt: skip
    for each in (*parts, listed, sound):
        each.unlink()


def shot(scene: Scene, paths: Mapping[str, Path]) -> list[str]:
    """Inputs and filter of the video of a scene: a face, two side by side, one with an inset, or no face.
    An inset, which is shown from its first frame on, is a picture in picture."""
    inputs, shown = [], []
    for clip, first in filter(None, (scene.face, scene.beside)):
        inputs += ["-ss", f"{clip.frames[first] * FRAME_S:.3f}", "-i", str(paths[clip.name])]
        shown.append(clip)
    width, height = SIZE
    if not shown:
        return ["-f", "lavfi", "-i", f"mandelbrot=size={width}x{height}:rate=25"]
    end = f"fps=25,tpad=stop=-1:stop_mode=clone,scale={height}:{height}"
    filters = [f"[0:v]{end}[a]", f"[a]pad={width}:{height}:(ow-iw)/2:0:gray[v]"]
    if len(shown) == 2 and scene.beside and scene.beside[1] == 0:
        corner = f"scale={INSET}:{INSET}"
        main = f"pad={width}:{height}:(ow-iw)/2:0:gray"
        filters = [f"[0:v]{end},{main}[a]", f"[1:v]{end},{corner}[b]"]
        filters.append(f"[a][b]overlay={width - INSET - 10}:{height - INSET - 10}[v]")
    elif len(shown) == 2:
        half = width // 2
        side = f"scale={half}:{half},pad={half}:{height}:0:(oh-ih)/2:gray"
        filters = [f"[0:v]{end},{side}[a]", f"[1:v]{end},{side}[b]", "[a][b]hstack[v]"]
    return [*inputs, "-filter_complex", ";".join(filters), "-map", "[v]"]


def soundtrack(written: Script, cache: Path) -> np.ndarray:
    """Samples of the whole programme: what fits the video at t is heard at t less the error."""
    kept: dict[str, Footage] = {}
    total = written.scenes[-1].end
    error = np.interp(
        np.arange(round(total * FRAME_S * SAMPLE_RATE)) / SAMPLE_RATE,
        *steps(written.error_ms),
    )
    parts = []
    for scene in written.scenes:
        name = scene.voice.name
        found = kept.setdefault(name, load_footage(cache / f"{name.replace('/', '_')}.npz"))
        first, past = (round(edge * FRAME_S * SAMPLE_RATE) for edge in (scene.begin, scene.end))
        at = scene.voice_s + np.arange(past - first) / SAMPLE_RATE
        at += (error[first:past] - scene.voice.delay_ms) / 1000 - found.audio_start_s
        parts.append(np.interp(at * SAMPLE_RATE, np.arange(len(found.samples)), found.samples, 0.0, 0.0))
    return np.concatenate(parts)


def steps(error_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, ms) between which a line is drawn: frame by frame, but with jumps as steps."""
    times = np.arange(len(error_ms)) * FRAME_S
    jumps = np.flatnonzero(np.abs(np.diff(error_ms)) > 5) + 1
    before = times[jumps] - 1e-4
    order = np.argsort(np.concatenate([times, before]), kind="stable")
    return (
        np.concatenate([times, before])[order],
        np.concatenate([error_ms, error_ms[jumps - 1]])[order],
    )


def run(*arguments: str | Path) -> None:
    """ffmpeg, which has to succeed."""
    command = [ffmpeg_path(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
