"""A second opinion on how far clips of lrs2-mini are off as stored, without the bundled model.

The shape of the lips (MediaPipe's landmarks, turned to the front, no pixels) is held against what a
speech recogniser hears (the features of Moonshine's encoder, no spectrogram). Two small networks learn on the
training speakers which of them go together, and say at which delay the audio of another clip fits. Neither
input nor weights are those of avsync's model; the training clips, and what they are off by, are the same.

    pip install '.[speech]' mediapipe==0.10.21      # in an environment of its own, without constraints.txt
    pip download --no-deps moonshine-voice==0.0.63
    unzip -j moonshine_voice-*.whl '*/tiny-en/encoder_model.ort'
    avsync train --data ../shared/lrs2-mini --cache CACHE --prepare-only
    python research/closures/second_opinion.py CACHE encoder_model.ort test-delays.json --work WORK
    python research/closures/second_opinion.py CACHE encoder_model.ort val-delays.json --work WORK \\
        --split val,unaligned --seeds 0,1 --only-sure

The result is a file for `avsync bench accuracy --split test --delays test-delays.json`: clips, or the
beginning of their names, to the ms by which their audio must be delayed to be in sync. The landmarks take
most of the time and are kept in WORK; with all of them there, MediaPipe is not needed. Beside the result
lies an .npz of each clip's curves, (trainings, shifts from -15 to +15 frames).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import nn
from torch.nn import functional as F

from avsync.audio.speech import SpeechEncoder, at_speech_level
from avsync.data.cut import main_face_frames
from avsync.data.labels import delay_of, read_delays, shares
from avsync.data.shards import SAMPLES_PER_FRAME, Store, StoredClip
from avsync.distill.speech_teacher import HALF_WINDOW, around

ROOT = Path(__file__).parents[2]
LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
LIPS += [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
CHIN = [152, 148, 377, 176, 400, 199, 200]
STILL = [33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 9, 127, 356, 70, 300, 105, 334, 5, 4]
"""Points that hardly move with speech; they say how the head is turned."""
SIDE = 192
RADIUS = 15
STEPS, BATCH, RUN = 900, 16, 41
HELD = ("te005", "te032", "te127", "pa160", "te224")
"""Recordings that the bundled model was not trained on either; of the wild ones only they are measured."""
ANCHORS = "ar"
"""Speakers whose clips are each of another broadcast, with an error of its own."""
SURE = 1.2
"""Least height of a clip's peak, in nats over the median delay, for its estimate to count alone."""
NEAR_MS = 80.0
"""A speaker's clips that lie within it of each other, or of their median, are taken to share one delay."""
FAR_MS = 250.0
"""A word further from its anchor's median delay is a false peak: at such shifts hardly a third of a word of
1.2 s is left to compare. All other words lie within 150 ms of it."""
Found = dict[str, tuple[float, float]]
"""Clip id -> by how many ms its audio is late, and how high that peak is."""


def landmarks(clip: StoredClip, work: Path) -> np.ndarray:
    """(frames, 478, 3) of the face that training looks at, NaN where none is found."""
    path = work / f"{clip.split}_{clip.id.replace('/', '_')}.npy"
    if not path.exists():
        import mediapipe

        # Closed, for each holds some 30 MB that nothing else gives back.
        with mediapipe.solutions.face_mesh.FaceMesh(
            refine_landmarks=True, min_detection_confidence=0.3, min_tracking_confidence=0.3
        ) as mesh:
            found = [_points(mesh, image) for image in main_face_frames(ROOT / clip.source, _face)]
        np.save(path, np.array(found, np.float32))
    return np.load(path)


def _points(mesh, image: np.ndarray) -> np.ndarray:
    faces = mesh.process(image).multi_face_landmarks
    return np.array([(p.x, p.y, p.z) for p in faces[0].landmark]) if faces else np.full((478, 3), np.nan)


def _face(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box * np.array([width, height, width, height])
    scale = SIDE / (1.7 * max(x1 - x0, y1 - y0))
    middle = SIDE / 2 - scale * np.array([x0 + x1, y0 + y1]) / 2
    move = np.array([[scale, 0, middle[0]], [0, scale, middle[1]]], np.float32)
    how = {"flags": cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    return cv2.warpAffine(np.ascontiguousarray(image), move, (SIDE, SIDE), **how)


def filled(points: np.ndarray) -> np.ndarray | None:
    """Landmarks with gaps filled from the nearest frame; None where a tenth or more is missing."""
    seen = np.flatnonzero(np.isfinite(points[:, 0, 0]))
    if len(seen) < 0.9 * len(points):
        return None
    return points[seen[np.abs(np.arange(len(points))[:, None] - seen).argmin(1)]].astype(np.float64)


def frontal(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Lips and chin (frames, 141) with every head turned and scaled to `pose` (Procrustes)."""
    middle = points[:, STILL].mean(1, keepdims=True)
    still = points[:, STILL] - middle
    u, s, v = np.linalg.svd(np.einsum("nki,kj->nij", still, pose))
    mirror = np.ones((len(points), 3))
    mirror[:, 2] = np.sign(np.linalg.det(u @ v))
    turn = (u * mirror[:, None]) @ v
    scale = (s * mirror).sum(1) / (still**2).sum((1, 2))
    return (((points[:, LIPS + CHIN] - middle) @ turn) * scale[:, None, None]).reshape(len(points), -1)


def windows(rows: np.ndarray) -> np.ndarray:
    """(frames, n) -> (frames - 4, 5 n)."""
    return np.lib.stride_tricks.sliding_window_view(rows, 5, 0).swapaxes(1, 2).reshape(len(rows) - 4, -1)


def heard(encoder: SpeechEncoder, wave: np.ndarray, count: int, delay_ms: float) -> np.ndarray:
    """Features (count, n) of the audio of the windows at frames 0.., once it is delayed by `delay_ms`."""
    encoded = encoder.encode(at_speech_level(wave[None].astype(np.float32) / 32768))[0]
    late = round(delay_ms * SAMPLES_PER_FRAME / 40)
    return around(encoded, np.arange(count) * SAMPLES_PER_FRAME + HALF_WINDOW - late)


class Pair(nn.Module):
    """Similarities of lips and audio, each made an embedding of its own."""

    def __init__(self, lips: int, audio: int) -> None:
        super().__init__()
        self.lips = nn.Sequential(
            nn.Linear(lips, 512), nn.LayerNorm(512), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, 256),
        )  # fmt: skip
        self.audio = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(audio, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, 256)
        )
        self.scale = nn.Parameter(torch.tensor(2.3))

    def forward(self, lips: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        """(n, lips) and (m, audio) -> (n, m)."""
        seen, told = F.normalize(self.lips(lips), dim=-1), F.normalize(self.audio(audio), dim=-1)
        return seen @ told.T * self.scale.exp().clamp(max=40)


def train(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]], share: np.ndarray, rng: np.random.Generator
) -> Pair:
    """Contrast of all shifts up to 15 frames inside runs of 41 windows, in both directions."""
    names = list(pairs)
    net = Pair(*(part.shape[1] for part in next(iter(pairs.values()))))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, STEPS, pct_start=0.1)
    for step in range(STEPS):
        lips, audio, clip, place = [], [], [], []
        for number, name in enumerate(rng.choice(len(names), BATCH, p=share)):
            seen, told = pairs[names[name]]
            first = int(rng.integers(0, max(1, len(seen) - RUN)))
            seen = seen[first : first + RUN]
            frames = seen.reshape(len(seen), 5, -1)
            changed = (
                frames * (1 + 0.15 * rng.standard_normal(frames.shape[-1])) * np.exp(0.15 * rng.normal())
            )
            lips.append((changed + 0.1 * rng.standard_normal(frames.shape)).reshape(len(seen), -1))
            audio.append(told[first : first + len(seen)])
            clip += [number] * len(seen)
            place += range(len(seen))
        net.train()
        similar = net(*(torch.from_numpy(np.concatenate(x).astype(np.float32)) for x in (lips, audio)))
        apart = torch.tensor(place)[:, None] - torch.tensor(place)[None]
        here = (torch.tensor(clip)[:, None] == torch.tensor(clip)[None]) & (apart.abs() <= RADIUS)
        target = torch.exp(-(apart.float() ** 2) / 0.72) * here
        target = target / target.sum(1, keepdim=True)
        both = [table.masked_fill(~here, -1e9).log_softmax(1) for table in (similar, similar.T)]
        loss = -sum((target * logs).sum(1).mean() for logs in both) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return net.eval()


@torch.no_grad()
def curve(net: Pair, seen: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Mean log-probability (31,) of the shifts from -15 to +15 frames; -inf where too little exists."""
    table = net(torch.from_numpy(seen.astype(np.float32)), torch.from_numpy(told.astype(np.float32))).numpy()
    n = len(table)
    columns = np.arange(n)[:, None] + np.arange(-RADIUS, RADIUS + 1)
    inside = (columns >= 0) & (columns < n)
    scores = np.where(inside, np.take_along_axis(table, columns.clip(0, n - 1), 1), -np.inf)
    logs = scores - np.logaddexp.reduce(scores, 1, keepdims=True)
    enough = inside.sum(0) >= 0.3 * n
    return np.where(enough, np.where(inside, logs, 0).sum(0) / np.maximum(inside.sum(0), 1), -np.inf)


def late_ms(mean: np.ndarray) -> tuple[float, float]:
    """By how much the audio of a clip is late, and the height of that peak over the median shift (nats)."""
    best = int(mean.argmax())
    bend = 0.0
    if 0 < best < 2 * RADIUS and np.isfinite(mean[best - 1 : best + 2]).all():
        left, top, right = mean[best - 1 : best + 2]
        bend = 0.5 * (left - right) / (left - 2 * top + right)
    return (best - RADIUS + bend) * 40, float(mean[best] - np.median(mean[np.isfinite(mean)]))


def by_speaker(found: Found) -> dict[str, list[str]]:
    clips: dict[str, list[str]] = {}
    for name in sorted(found):
        clips.setdefault(name.split("/")[0], []).append(name)
    return clips


def delays(found: Found) -> dict[str, float]:
    """Delay by speaker: the median of the clips, where there are three or more or they agree within 80 ms;
    else by clip, 0 where its peak is low."""
    made = {}
    for speaker, names in by_speaker(found).items():
        late = np.array([found[name][0] for name in names])
        if len(names) >= 3 or np.ptp(late) <= NEAR_MS:
            made[speaker] = -round(float(np.median(late)), 1)
        else:
            made |= {name: -round(found[name][0], 1) if found[name][1] >= SURE else 0.0 for name in names}
    return made


def sure_delays(curves: dict[str, np.ndarray]) -> dict[str, float]:
    """Delays that a calibration can stand on, by the curve (31,) of each clip; at the peak of the mean curve
    of clips that share one, which is nearer to the truth than a median of peaks where clips are short.

    The clips of `ANCHORS` share none, and only those with a clear peak that is not `FAR_MS` from the
    speaker's others are named. All clips of another
    speaker share one where three or more have a clear peak within 80 ms of the median; where fewer have, only
    those are named. Under a name of `HELD` lie several recordings, and not everybody who is seen speaks;
    there three or more clear peaks within 80 ms count as a recording, and only its clips are named.
    """
    found = {name: late_ms(mean) for name, mean in curves.items()}
    made = {}
    for speaker, names in by_speaker(found).items():
        clear = [name for name in names if found[name][1] >= SURE]
        late = np.array([found[name][0] for name in clear])
        if speaker.startswith(ANCHORS):
            near = [n for n, ms in zip(clear, late, strict=True) if abs(ms - np.median(late)) <= FAR_MS]
            shared = [([name], [name]) for name in near]
        elif speaker in HELD:
            recordings = [part for part in alike(clear, late) if len(part) >= 3]
            shared = [(part, part) for part in recordings]
        else:
            agree = [
                name for name, ms in zip(clear, late, strict=True) if abs(ms - np.median(late)) <= NEAR_MS
            ]
            shared = [([speaker], names) if len(agree) >= 3 else (agree, agree)]
        for named, heard_in in shared:
            if heard_in:
                delay = -late_ms(pooled([curves[name] for name in heard_in]))[0]
                made |= dict.fromkeys(named, round(delay, 1))
    return made


def alike(names: Sequence[str], late: np.ndarray) -> list[list[str]]:
    """Groups of which no two lie more than 80 ms apart, the nearest joined first."""
    if len(names) < 2:
        return [list(names)]
    group = fcluster(linkage(late[:, None], "complete"), NEAR_MS, "distance")
    return [[name for name, g in zip(names, group, strict=True) if g == one] for one in np.unique(group)]


def pooled(curves: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of curves, of each shift over those that have it."""
    table = np.array(curves)
    has = np.isfinite(table)
    return np.where(has.any(0), np.where(has, table, 0).sum(0) / np.maximum(has.sum(0), 1), -np.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("landmarks"))
    parser.add_argument("--split", default="test", help="splits that are measured, with commas")
    parser.add_argument("--seeds", default="0", help="one training each, with commas; their curves are added")
    parser.add_argument("--only-sure", action="store_true", help="name only clips whose delay is clear")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    corrected = read_delays(str(ROOT / "models/teachers/avsync-2.delays.json"))
    known = Store(given.cache, ["pretrain", "unaligned"]).select(
        lambda clip: (
            not clip.id.startswith(HELD)
            and (clip.split == "pretrain" or delay_of(clip, corrected) is not None)
            and clip.frames >= 14
        )
    )
    asked = Store(given.cache, given.split.split(",")).select(
        lambda clip: clip.split not in ("pretrain", "unaligned") or clip.id.startswith(HELD)
    )
    encoder = SpeechEncoder(given.encoder)
    points = {}
    for store in (known, asked):
        for clip in store.clips:
            points[clip] = filled(landmarks(clip, given.work))
    still = [p[:, STILL].mean(0) - p[:, STILL].mean((0, 1)) for p in points.values() if p is not None]
    pose = np.mean(still[:300], 0)
    shapes = {clip: frontal(p, pose) for clip, p in points.items() if p is not None}
    spread = np.concatenate([s - s.mean(0) for s in shapes.values()]).std(0) + 1e-9

    def pair(store: Store, number: int) -> tuple[np.ndarray, np.ndarray]:
        clip = store.clips[number]
        seen = windows((shapes[clip] - shapes[clip].mean(0)) / spread)
        delay = (delay_of(clip, corrected) or 0.0) if store is known else 0.0
        return seen.astype(np.float32), heard(encoder, np.array(store.wave(number)), len(seen), delay)

    use = [n for n, clip in enumerate(known.clips) if clip in shapes]
    pairs = {known.clips[n].id: pair(known, n) for n in use}
    every = np.concatenate([told[::7] for _, told in pairs.values()])
    mean, deviation = every.mean(0), every.std(0) + 1e-6
    pairs = {name: (seen, (told - mean) / deviation) for name, (seen, told) in pairs.items()}
    share = shares(known, 0.5)[use]
    nets = []
    for seed in map(int, given.seeds.split(",")):
        torch.manual_seed(seed)
        nets.append(train(pairs, share / share.sum(), np.random.default_rng(seed)))
    curves = {}
    for number, clip in enumerate(asked.clips):
        if clip in shapes:
            seen, told = pair(asked, number)
            curves[clip.id] = [curve(net, seen, (told - mean) / deviation) for net in nets]
    means = {name: np.mean(of, 0) for name, of in curves.items()}
    found = {name: late_ms(mean) for name, mean in means.items()}
    apart = [np.ptp([late_ms(one)[0] for one in of]) for name, of in curves.items() if found[name][1] >= SURE]
    np.savez(given.out.with_suffix(".npz"), **{name: np.array(of) for name, of in curves.items()})
    made = sure_delays(means) if given.only_sure else delays(found)
    given.out.write_text(json.dumps(made, indent=2) + "\n")
    print(f"{given.out}: {len(found)} of {len(asked)} clips measured.")
    if len(nets) > 1:
        print(f"Clear clips, by one training and another: {np.median(apart):.1f} ms apart (median),", end=" ")
        print(f"at most {max(apart):.0f} ms.")


if __name__ == "__main__":
    main()
