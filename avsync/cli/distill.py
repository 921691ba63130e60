"""`avsync distill` and `avsync train`: parse, prepare, train, say where the result is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.cli.console import emit, fail, guarded

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="LRS2, LRS3, folders prepared in Wav2Lip's way, any folder of videos, or a CSV of path,split.",
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The frozen teacher: a name or path of a checkpoint; by default vocalist, where it is here.",
    ),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The trained checkpoint, a .safetensors file.")
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML with any setting of the recipe; options win over it."),
]
Method = Annotated[
    str | None, typer.Option(metavar="NAME", help="mtd, nmtd, kd, rkd, minilm, fitnets or bce.")
]
Weighting = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="How losses are summed: uniform, manual, aw13, aw25, uw13, uw25."),
]
Layers = Annotated[
    str | None, typer.Option(metavar="LIST", help="all, or some of fusion1..4, av1..4, va1..4.")
]
Terms = Annotated[str | None, typer.Option(metavar="LIST", help="cad,vr or one of them.")]
Kl = Annotated[
    str | None, typer.Option(metavar="DIRECTION", help="student-teacher (the paper) or teacher-student.")
]
Arch = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="vocalist (80 M), mtdvocalist (13 M), syncnet, perfect-match, avst, dual; YAML gives others.",
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="pairs (the paper), dense: all shifts inside a clip, or match: 31 candidates a window.",
    ),
]
Init = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Start from this checkpoint or run instead of from nothing."),
]
SpeechEncoder = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Dense only: encoder of the speech recogniser Moonshine (ONNX) as a speech teacher.",
    ),
]
SpeechCorpus = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="With --speech-encoder: recorded speech without video, in which it teaches too."
    ),
]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Epochs to train.")]
Minutes = Annotated[float | None, typer.Option(metavar="N", help="Train so long instead of by epochs.")]
Batch = Annotated[
    int | None, typer.Option(metavar="N", help="Pairs (or, dense, clips) a step, over all processes.")
]
Rate = Annotated[float | None, typer.Option("--lr", metavar="RATE", help="Learning rate.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="The same seed gives the same losses.")]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where prepared clips are kept; by default cache/NAME here."),
]
Run = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the run's files go; by default runs/DATE-METHOD here."),
]
Resume = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Go on with a run that was stopped, exactly where it was.")
]
Workers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Processes that prepare clips; 0: one a core.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
PrepareOnly = Annotated[bool, typer.Option("--prepare-only", help="Fill the cache and stop.")]
RetryBroken = Annotated[bool, typer.Option("--retry-broken", help="Try clips again that could not be used.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@guarded
def distill(
    data: Data = None,
    teacher: Teacher = None,
    out: Out = None,
    config: Config = None,
    method: Method = None,
    weighting: Weighting = None,
    layers: Layers = None,
    terms: Terms = None,
    kl: Kl = None,
    init: Init = None,
    speech_encoder: SpeechEncoder = None,
    speech_corpus: SpeechCorpus = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    batch: Batch = None,
    lr: Rate = None,
    seed: Seed = None,
    cache: Cache = None,
    run: Run = None,
    resume: Resume = None,
    workers: Workers = 0,
    device: Device = "auto",
    prepare_only: PrepareOnly = False,
    retry_broken: RetryBroken = False,
    quiet: Quiet = False,
) -> int:
    """Train a compact student from a frozen teacher; "avsync check --model" takes the result.

    [bold]Examples[/bold]
    avsync distill --data lrs2/ --teacher vocalist_5f_lrs2.pth --out student.safetensors
    avsync distill --data lrs2/ --teacher vocalist --config mtd.yaml --weighting uw25 --layers all
    avsync distill --data lrs2/ --resume runs/2026-01-31-120000-mtd
    torchrun --nproc-per-node 8 -m avsync distill --data lrs2/ --teacher vocalist
    """
    names = {"method": method, "weighting": weighting, "layers": layers, "terms": terms, "kl": kl}
    names |= {"speech_encoder": speech_encoder, "speech_corpus": speech_corpus}
    return _go(
        names | {"init": init, "epochs": epochs, "minutes": minutes, "batch": batch, "lr": lr, "seed": seed},
        data=data, teacher=teacher, out=out, config=config, cache=cache, run=run, resume=resume,
        workers=workers, device=device, prepare_only=prepare_only, retry_broken=retry_broken, quiet=quiet,
    )  # fmt: skip


@guarded
def train(
    data: Data = None,
    arch: Arch = None,
    objective: Objective = None,
    out: Out = None,
    config: Config = None,
    init: Init = None,
    speech_encoder: SpeechEncoder = None,
    speech_corpus: SpeechCorpus = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    batch: Batch = None,
    lr: Rate = None,
    seed: Seed = None,
    cache: Cache = None,
    run: Run = None,
    resume: Resume = None,
    workers: Workers = 0,
    device: Device = "auto",
    prepare_only: PrepareOnly = False,
    retry_broken: RetryBroken = False,
    quiet: Quiet = False,
) -> int:
    """Train a network without a teacher: a teacher of one's own, or a model for "avsync check".

    [bold]Examples[/bold]
    avsync train --data lrs2/ --arch vocalist --out teacher.safetensors
    avsync train --data lrs2/ --objective dense --config dense.yaml --out mine.safetensors
    """
    given: dict[str, Any] = {"student": arch, "objective": objective, "init": init, "epochs": epochs}
    given |= {"minutes": minutes, "batch": batch, "lr": lr, "seed": seed}
    given |= {"speech_encoder": speech_encoder, "speech_corpus": speech_corpus}
    if resume is None:
        given["method"] = "bce"
    return _go(
        given, data=data, teacher=None, out=out, config=config, cache=cache, run=run, resume=resume,
        workers=workers, device=device, prepare_only=prepare_only, retry_broken=retry_broken, quiet=quiet,
    )  # fmt: skip


def _go(overrides: dict[str, Any], *, config: Path | None, resume: Path | None, **options: Any) -> int:
    from avsync.distill.loop import Interrupted
    from avsync.distill.run import start

    try:
        result = start(overrides, config=config, resume=resume, **options)
    except Interrupted as stopped:
        return fail(str(stopped), stopped.exit_code)
    if result is not None:
        emit(result + "\n")
    return 0
