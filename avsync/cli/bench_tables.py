"""The tables of `avsync bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from avsync.bench.defects import AMOUNT_MS, Trial, after_words, found_words
from avsync.bench.published import NOTE, ROWS, Published
from avsync.bench.videos import LIMITS_MS, Outcome, groups, summarise
from avsync.core.text import printable
from avsync.evaluation.protocol import FRAMES_K, LONG_S
from avsync.report.words import offset_words, percent

if TYPE_CHECKING:
    from avsync.bench.generated import Video
    from avsync.bench.speed import ModelSpeed
    from avsync.bench.training_speed import TrainSpeed


def table(title: str, *headings: str) -> Table:
    """A table whose first column is text and the others numbers."""
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="right" if number else "left", overflow="fold")
    return made


def accuracy_tables(found: dict[str, Any]) -> list[Table | str]:
    """All tables of the results of `bench.evaluate`."""
    rows = found["models"]
    data = f"{Path(found['data']).name}, {found['split']}, {found['clips']} clips"
    parts: list[Table | str] = [accuracy_table(rows, ROWS, data), NOTE]
    for row in rows:
        if len(row["by_source"]) > 1:
            parts.append(source_table(row))
        parts += [group_table(row, name) for name in row["by_group"]]
        if row["agreement"]:
            parts.append(agreement_table(row))
        if row["corrupted"]:
            parts.append(corruption_table(row))
    return parts


def accuracy_table(rows: Sequence[dict[str, Any]], published: Sequence[Published], data: str) -> Table:
    """Measured rows with intervals, then the published ones."""
    lengths = [f"K={k}" for k in FRAMES_K]
    title = f"Windows within one frame of the truth, % (95 % interval), by input length in frames; {data}"
    made = table(title, "model", "parameters", *lengths, "whole clip", "val. F1")
    for row in rows:
        by_length = [_interval(row["window_accuracy"][str(k)]) for k in FRAMES_K]
        whole, f1 = _interval(row["whole_clip_accuracy"]), _interval(row["validation_f1"])
        made.add_row(row["name"], f"{row['parameters']:,}", *by_length, whole, f1)
    made.add_section()
    for entry in published:
        size = "-" if entry.parameters_m is None else f"{entry.parameters_m:.1f} M"
        cells = ["-" if a is None else f"{a}" for a in entry.accuracy]
        made.add_row(f"{entry.name} (published)", size, *cells, "-", "-", style="dim")
    return made


def source_table(row: dict[str, Any]) -> Table:
    """One model's accuracy by source."""
    long = {f"{LONG_S:g} s or more": row["long_clips"]} if row["long_clips"] else {}
    title = f"{row['name']} by source (the first two letters of the speaker's name)"
    return _parts_table(title, "source", {**row["by_source"], **long, "all": row})


def group_table(row: dict[str, Any], name: str) -> Table:
    """One model's accuracy by the labels of a file."""
    return _parts_table(f"{row['name']} by {name}", name, {**row["by_group"][name], "all": row})


def agreement_table(row: dict[str, Any]) -> Table:
    """How well one model's answers agree within recordings."""
    columns = ["clips", "recordings", "answered", "changing", "compared"]
    columns += ["within 40 ms of the median", "median distance"]
    made = table(f"{row['name']}: agreement within a recording", "clips of", *columns)
    found = row["agreement"]
    for parts in ({"all": found["all"]}, found["by_length"], found["by_language"] or {}):
        for name, part in parts.items():
            share, spread = part["agreeing"], part["spread_ms"]
            made.add_row(
                *[name, str(part["clips"]), str(part["recordings"]), f"{part['answered']:.1f} %"],
                *[str(part["changing"]), str(part["compared"]), "-" if share is None else f"{share:.1f} %"],
                "-" if spread is None else f"{spread:.0f} ms",
            )
        made.add_section()
    return made


def corruption_table(row: dict[str, Any]) -> Table:
    """One model's accuracy on the unaltered clips and with each corruption."""
    title = f"{row['name']} on corrupted clips"
    return _parts_table(title, "corruption", {"none": row, **row["corrupted"]})


def _parts_table(title: str, heading: str, parts: dict[str, dict[str, Any]]) -> Table:
    columns = [
        "clips",
        "K=5",
        "K=15",
        "K=15, existing",
        "whole clip",
        "median error",
        "answered",
        "of these wrong",
    ]
    made = table(title, heading, *columns)
    for name, part in parts.items():
        accuracy = part["window_accuracy"]
        cells = [accuracy["5"], accuracy["15"], part["window_accuracy_existing"]["15"]]
        error = part["median_error_ms"]
        made.add_row(
            *[name, str(part["clips"]), *map(_interval, cells), _interval(part["whole_clip_accuracy"])],
            "-" if error is None else f"{error:.0f} ms",
            *[str(part["answered_clips"]), str(part["wrong_clips"])],
        )
    return made


def _interval(values: Sequence[float] | None) -> str:
    return "-" if values is None else "{:.1f}\n({:.1f}-{:.1f})".format(*values)


def speed_table(measured: Sequence[ModelSpeed]) -> Table:
    """Seconds per window, with a naive forward pass per pair and with avsync's scoring."""
    made = table(
        "One window with its 31 offsets: naive and ours, median (least-most)",
        *["model", "parameters", "MB", "GFLOP naive", "ours", "s naive", "ours", "faster", "windows/s"],
        *["RTF", "peak MB", "largest difference"],
    )
    for m in measured:
        size = "-" if m.megabytes is None else f"{m.megabytes:.1f}"
        made.add_row(
            *[m.name, f"{m.parameters:,}", size, f"{m.gflop_plain:.4g}", f"{m.gflop_ours:.3g}"],
            *[_spread(m.plain_s), _spread(m.ours_s), f"{m.speedup:.1f} x", _spread(m.windows_per_s)],
            *[f"{m.real_time_factor:.3g}", f"{m.peak_mb:.0f}", f"{m.largest_difference:.1e}"],
        )
    return made


def _spread(values: Sequence[float]) -> str:
    return "{:.3g}\n({:.3g}-{:.3g})".format(*values)


def decoding_table(compared: dict[str, Any]) -> Table:
    """The cost of a check compared with plain decoding of the same file, and the cost of starting up."""
    made = table(
        f"check costs {compared['ratio']:.1f} times decoding", "command", "processor seconds", "seconds"
    )
    rows = {
        "ffmpeg -f null (decoding)": "decoding",
        "avsync check": "check",
        "avsync check of 3.5 s (starting)": "short_clip",
    }
    for name, key in rows.items():
        made.add_row(name, f"{compared[key]['cpu_s']:.1f}", f"{compared[key]['wall_s']:.1f}")
    return made


def end_to_end_table(result: dict[str, Any], model: str) -> Table:
    """Seconds by stage of one long video."""
    made = table(
        f"avsync check of {result['video_s']:.0f} s of video with {model}",
        "stage",
        "seconds",
        "per second of video",
    )
    for stage, seconds in result["timings_s"].items():
        made.add_row(stage, f"{seconds:.2f}", f"{result['by_stage_per_second_of_video'][stage]:.3f}")
    return made


def training_table(found: TrainSpeed) -> Table:
    """A recipe's training speed and how much of the device it uses."""
    what = "clips" if found.objective == "dense" else "samples"
    made = table(f"Training: {found.method}, {found.objective}, batch {found.batch}", "", "")
    sizes = f"{found.student_parameters:,}"
    if found.teacher_parameters:
        sizes += f"; teacher {found.teacher_parameters:,}"
    rows = {
        "student's parameters": sizes,
        f"{what} per second": _spread(found.samples_per_s).replace("\n", " "),
        "the same, without loading": _spread(found.without_loading_per_s).replace("\n", " "),
        f"GFLOP for each of the {what}": f"{found.gflop_per_sample:.4g}",
        "TFLOP per second": f"{found.tflops:.3g}",
        f"of the peak, a matrix product in {found.precision}": (
            f"{found.share_of_peak:.1%} of {found.peak_tflops:.3g} TFLOP per second"
        ),
        "peak MB": f"{found.peak_mb:.0f}",
    }
    if found.datasheet_tflops:
        rows["of the maker's figure"] = f"{found.share_of_datasheet:.1%} of {found.datasheet_tflops:g}"
    if found.paper_hours:
        rows["hours for the paper's 80 x 96,318 samples"] = f"{found.paper_hours:.3g}"
    whole = sum(found.stage_ms.values())
    for stage, ms in found.stage_ms.items():
        named = "inputs, loaded meanwhile" if stage == "inputs" else stage
        rows[f"stage by itself: {named}"] = f"{ms:.3g} ms a step, {ms / whole:.0%}"
    for name, value in rows.items():
        made.add_row(name, value)
    return made


def demo_table(outcomes: Sequence[Outcome], model: str) -> Table:
    """The answer for each synthetic clip."""
    title = f"Synthetic clips with known offsets, checked with {model}"
    made = table(title, "clip", "offset, ms (early: +)", "measured", "verdict", "probability")
    for o in outcomes:
        measured = "-" if o.offset_ms is None else f"{o.offset_ms:+.0f}"
        shift = f"{o.case.shift_ms:+.0f}"
        made.add_row(o.case.clip.name, shift, measured, o.verdict, f"{100 * o.probability:.0f} %")
    return made


def videos_tables(outcomes: Sequence[Outcome], reliability: dict[str, Any], model: str) -> list[Table | str]:
    """Errors of altered copies by group, and the calibration of the probability."""
    title = f"Altered copies, checked with {model}: error of the answers"
    return [
        *(videos_table(title, name, {**parts, "all": outcomes}) for name, parts in groups(outcomes).items()),
        *reliability_parts(reliability),
        *failure_parts(outcomes),
    ]


def videos_table(title: str, heading: str, parts: Mapping[str, Sequence[Outcome]]) -> Table:
    """Errors by group of copies."""
    columns = ["copies", "answered", "median error", *[f"within {n} ms" for n in LIMITS_MS], "copies agree"]
    made = table(title, heading, *columns)
    for name, part in parts.items():
        row = summarise(part)
        within = [_percent(row[f"within_{n}ms"]) for n in LIMITS_MS] + [_percent(row["agree_40ms"])]
        median = row["median_error_ms"]
        error = "-" if median is None else f"{median:.0f} ms"
        made.add_row(name, str(row["cases"]), _percent(row["answered_share"]), error, *within)
    return made


def defects_table(trials: Sequence[Trial], model: str) -> Table:
    """What was found of each defect, and what remains after repair."""
    made = Table(
        title=f"Defects of {AMOUNT_MS:.0f} ms (drift: per minute), checked with {model}; error: relative to "
        "the unaltered clip, ms (drift: ms per minute)",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
    )
    for heading in ("clip", "made", "caught", "found", "error", "after repair", "check, s", "repair, s"):
        made.add_column(heading, overflow="fold")
    for t in trials:
        error = "-" if t.error is None else f"{t.error:+.0f}"
        repair = "-" if t.repair_s is None else f"{t.repair_s:.1f}"
        caught = "yes" if t.caught else "no"
        made.add_row(
            *[t.clip.name, t.kind, caught, found_words(t.found), error, after_words(t)],
            *[f"{t.check_s:.1f}", repair],
        )
    return made


def runs_table(runs: Sequence[dict[str, Any]]) -> Table:
    """Distillation runs by distilled layers, with the shares of their losses at beginning and end."""
    made = Table(title="Distillation runs", title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    for heading in ("run", "distilled layers", "best validation", "shares of the loss, first to last"):
        made.add_column(heading, overflow="fold")
    for run in runs:
        best = "-" if run["best"] is None else f"{run['measure']} {run['best']:.4f}"
        groups = run["loss_ratio"]["groups"].items()
        shares = ", ".join(f"{name} {_percent(s[0])} to {_percent(s[-1])}" for name, s in groups)
        made.add_row(run["run"], run["layers"], best, shares)
    return made


def reliability_parts(found: dict[str, Any]) -> list[Table | str]:
    """How often answers in each tenth of the probability were right."""
    if not found["table"]:
        return ["No copy got an offset, so the calibration of the probability is unknown."]
    made = table("Is the probability calibrated?", "mean probability", "right within 40 ms", "copies")
    for said, right, copies in found["table"]:
        made.add_row(_percent(said), _percent(right), str(copies))
    held = _percent(found["interval_holds"])
    error = found["expected_calibration_error"]
    return [
        made,
        f"Expected calibration error {error:.3f}; the interval contained the truth in {held} of the answers.",
    ]


def failure_parts(outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence on copies that could not be checked, if there are any."""
    failed = [o for o in outcomes if o.verdict == "error"]
    if not failed:
        return []
    return [f"{len(failed)} of {len(outcomes)} copies could not be checked: {' '.join(failed[0].reasons)}"]


def _percent(share: float | int | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def processor_words(machine: Mapping[str, Any]) -> str:
    """Description of the measured machine."""
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    return f"{gpu}{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}"


def machine_words(machine: Mapping[str, Any]) -> str:
    """What the columns of `speed_table` mean."""
    return (
        f"{processor_words(machine)}, float32. RTF: seconds of work per second of one face, with every "
        "window scored; peak: of the whole process, or of the GPU's memory."
    )


def generated_tables(videos: Sequence[Video], found: Mapping[str, Any]) -> list[Table | str]:
    """Every video's main face, and the figures over all."""
    names = [name for name in found["measures"] if not name.startswith(("offset", "probability"))]
    rows = table("Each video's main face", "video", "audio is", "sure", *names)
    for video in videos:
        face = video.main
        if face is None:
            rows.add_row(
                printable(str(video.path)), printable(video.message) or "no face", "-", *["-"] * len(names)
            )
            continue
        cells = (f"{face.measures[name]:.3f}" if name in face.measures else "-" for name in names)
        rows.add_row(
            printable(str(video.path)), offset_words(face.offset_ms), percent(face.probability), *cells
        )
    title = f"{found['with_a_face']} of {found['videos']} videos"
    figures = table(title, "measure", "videos", "mean", "median", "95 % interval of the mean")
    for name, of in found["measures"].items():
        cells = (
            str(of["count"]),
            f"{of['mean']:.3f}",
            f"{of['median']:.3f}",
            f"{of['low']:.3f} to {of['high']:.3f}",
        )
        figures.add_row(name, *cells)
    return [rows, figures]
