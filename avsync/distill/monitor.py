"""What a run reports while it works: a line of JSON per record, TensorBoard, a live table on a terminal."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from avsync.core.files import write_whole

METRICS = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All records of a run, oldest first, without a line that a crash cut off."""
    records = []
    path = folder / METRICS
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


class Monitor:
    """Writes the records of a run; when a run resumes, records after its checkpoint are dropped."""

    def __init__(self, folder: Path, total_steps: int, *, after_step: int = 0, quiet: bool = False) -> None:
        kept = [record for record in read_metrics(folder) if record["step"] <= after_step]
        self._path = folder / METRICS
        write_whole(self._path, "".join(json.dumps(r) + "\n" for r in kept).encode())
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _tensorboard(folder, after_step)
        self._total = total_steps
        self._step: dict[str, Any] = {}
        self._validation: dict[str, Any] = {}
        console = Console(stderr=True)
        shown = console.is_terminal and not quiet
        self._live = Live(console=console, refresh_per_second=4, transient=False) if shown else None

    def __enter__(self) -> Monitor:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        self._file.close()
        if self._board:
            self._board.close()

    def say(self, sentence: str) -> None:
        """Print one line on the terminal, if there is one."""
        if self._live:
            self._live.console.print(sentence, highlight=False)
        elif sys.stderr.isatty():
            print(sentence, file=sys.stderr)

    def record(self, entry: Mapping[str, Any]) -> None:
        """Write one record; "kind" is "train" or "validation", "step" counts from the start of the run."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        if entry["kind"] == "train":
            self._step = dict(entry)
        else:
            self._validation = dict(entry)
        if self._board:
            for name, value in _scalars(entry):
                self._board.add_scalar(f"{entry['kind']}/{name}", value, entry["step"])
        if self._live:
            self._live.update(self._view())

    def _view(self) -> Group:
        step, validation = self._step, self._validation
        left = step.get("seconds_left")
        head = [
            f"step {step.get('step', 0)} of {self._total}" if self._total else f"step {step.get('step', 0)}"
        ]
        head += [f"epoch {step.get('epoch', 0) + 1}", f"{step.get('samples_per_s', 0):.0f} samples/s"]
        head += [f"{_clock(left)} left"] if left is not None else []
        head += [
            f"{name} {value:.3f}"
            for name, value in _scalars(validation)
            if name in ("balanced_f1", "within_1", "best")
        ]
        table = Table("task", "loss", "factor", box=None, pad_edge=False)
        for name, value in step.get("losses", {}).items():
            factor = step.get("factors", {}).get(name)
            table.add_row(name, f"{value:.4f}", "" if factor is None else f"{factor:.3f}")
        table.add_row("total", f"{step.get('loss', float('nan')):.4f}", "", style="bold")
        return Group(Text("  ".join(head)), table)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _scalars(entry: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name not in ("step", "kind"):
            found.append((prefix + name, float(value)))
    return found


def _tensorboard(folder: Path, after_step: int) -> Any | None:
    """A writer if the extra avsync[tensorboard] is installed; entries after the step are dropped."""
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return None
    return module.SummaryWriter(
        str(folder / "tensorboard"), purge_step=after_step + 1 if after_step else None
    )
