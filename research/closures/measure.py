"""Measure how far audio and lips are apart, without any model of synchrony; README.md says how well.

    python research/closures/measure.py ../shared/clips --controls ../shared/lrs2-mini --out closures.json

Sign, as everywhere in avsync: + = the audio is EARLY; what is heard at t is seen at t + offset. Times are
seconds on the container's clock unless a name ends in _ms.

It needs packages that avsync does not, and mediapipe wants an older numpy: give it an environment of its own.

    python3.11 -m venv closures-venv
    closures-venv/bin/pip install av scipy mediapipe==0.10.21 pocketsphinx==5.1.1
    closures-venv/bin/pip install --no-deps moonshine-voice==0.0.63
    closures-venv/bin/pip install requests tqdm filelock platformdirs

The last two lines are only for files whose text is not in transcripts.json: that wheel holds the recogniser
Moonshine tiny-en and its runtime (onnxruntime is not needed); --moonshine FOLDER takes its encoder, decoder
and tokenizer from elsewhere. What was decided by hand for single clips stands in transcripts.json.
--work FOLDER keeps what is found, so that a later run is quick.
"""

import argparse
import json
import random
import re
from dataclasses import astuple, dataclass
from math import gcd
from pathlib import Path

import numpy as np

RATE = 16000  # Hz
FRAME = 0.01  # s, pocketsphinx's frame
LEAD = 0.2  # s of silence put before and after the audio for the aligner
HOP = 0.0025  # s, step of the energy that finds closures
OFFSETS = np.arange(400, -401, -5) / 1000  # s, candidates; late audio last
GRID_CONTROLS = 40  # of the one GRID speaker of pretrain.txt, drawn with seed 0
SMALL = 1e-9
BILABIAL = "PBM"
LANDMARKS = [13, 14, 82, 87, 312, 317, 10, 152]  # three pairs of the inner lips, forehead and chin
CLASSES = {
    "PBM": "P B M", "FV": "F V", "W": "W", "UW": "UW UH OW OY", "R": "R ER", "TD": "T D N", "SZ": "S Z",
    "SH": "SH CH JH ZH Y", "TH": "TH DH", "L": "L", "KG": "K G NG HH", "AA": "AA AO", "AE": "AE AY AW",
    "AH": "AH", "EH": "EH EY", "IY": "IY IH", "SIL": "SIL",
}  # fmt: skip
CLASS_OF = {phone: name for name, phones in CLASSES.items() for phone in phones.split()}
NAMES = sorted(CLASSES)
SILENCE = NAMES.index("SIL")
BEAMS = [
    {},
    {"beam": 1e-60, "pbeam": 1e-60, "wbeam": 1e-40},
    *({"beam": b, "pbeam": b, "wbeam": b} for b in (1e-80, 1e-120, 1e-160)),
]


@dataclass(frozen=True)
class Clip:
    """A file to measure; group is clips, val, pretrain or grid; the last three are controls."""

    name: str
    path: Path
    group: str

    @property
    def speaker(self) -> str:
        return self.name if self.group == "grid" else self.name.split("-")[0]


@dataclass(frozen=True)
class Phone:
    """One phone of the forced alignment; start and end in seconds from the first sample."""

    word: str
    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """Audio (samples,) at RATE from start; lip opening (frames,), 0 closed .. 1 open, at times (frames,)."""

    audio: np.ndarray
    start: float
    times: np.ndarray
    opening: np.ndarray
    phones: list[Phone]


# ---- files ----


def clips_in(places: list[Path]) -> list[Clip]:
    """The videos of folders (not of those below) and files, in order."""
    files = [f for p in places for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
    return [Clip(f.stem, f, "clips") for f in files if f.suffix in {".mp4", ".mpg", ".webm", ".mkv"}]


def controls_in(root: Path) -> list[Clip]:
    """The English clips of val.txt and pretrain.txt (ar: Arabic), GRID_CONTROLS of the GRID speaker gs01."""

    def path(entry: str) -> Path:
        return next(p for d in ("main", "pretrain") if (p := root / d / f"{entry}.mp4").exists())

    val, pretrain = ((root / f"{n}.txt").read_text().split() for n in ("val", "pretrain"))
    grid = sorted(e for e in pretrain if e.startswith("gs"))
    random.Random(0).shuffle(grid)  # noqa: S311
    chosen = [(e, "val") for e in val if e[:2] != "ar"]
    chosen += [(e, "pretrain") for e in pretrain if e[:2] not in {"ar", "gs"}]
    chosen += [(e, "grid") for e in grid[:GRID_CONTROLS]]
    return [Clip(e.replace("/", "-"), path(e), group) for e, group in chosen]


def decode_audio(path: Path) -> tuple[np.ndarray, float]:
    """Mono samples at RATE, every frame at its own time stamp, and the time of the first."""
    import av
    from scipy.signal import resample_poly

    parts, rate = [], RATE
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]):
            a = frame.to_ndarray()
            if a.dtype.kind == "i":
                a = a.astype(np.float64) / np.iinfo(a.dtype).max
            a = a if frame.format.is_planar else a.reshape(-1, frame.layout.nb_channels).T
            parts.append((float(frame.pts * frame.time_base), a.mean(0)))
            rate = frame.sample_rate
    start = parts[0][0]
    starts = [round((t - start) * rate) for t, _ in parts]
    audio = np.zeros(max(i + len(a) for i, (_, a) in zip(starts, parts, strict=True)))
    for i, (_, a) in zip(starts, parts, strict=True):
        audio[i : i + len(a)] = a
    if rate != RATE:
        common = gcd(rate, RATE)
        audio = resample_poly(audio, RATE // common, rate // common)
    return audio.astype(np.float32), start


def frame_times(path: Path) -> np.ndarray:
    """Presentation times (frames,) of the video."""
    import av

    with av.open(str(path)) as container:
        return np.array([float(f.pts * f.time_base) for f in container.decode(container.streams.video[0])])


def images(path: Path, region: list[int] | None):
    """The frames (height, width, 3), BGR; of a region [x, y, side] in pixels only, if one is given."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    while True:
        read, image = capture.read()
        if not read:
            return
        if region:
            x, y, side = region
            image = image[y : y + side, x : x + side]
        yield image


# ---- lips ----


def face_meshes(mesh, image: np.ndarray) -> np.ndarray:
    """Landmarks (faces, 478, 2) in pixels of a BGR image; (0, 478, 2) without a face."""
    import cv2

    height, width = image.shape[:2]
    found = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).multi_face_landmarks or []
    points = [[(p.x * width, p.y * height) for p in face.landmark] for face in found]
    return np.array(points).reshape(-1, 478, 2)


def enlarged(image: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The image padded (more if square: a face crop) and made 500..800 pixels, the scale, the padding."""
    import cv2

    height, width = image.shape[:2]
    pad = int((0.25 if height == width else 0.05) * max(height, width))
    image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    scale = min(1, 800 / max(height, width))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=way)
    if image.shape[0] < 500:
        scale = 500 / image.shape[0]
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return image, image.shape[1] / (width + 2 * pad), pad


def face_boxes(clip: Path, region: list[int] | None, mesh) -> np.ndarray | None:
    """Centre x, y and size (frames, 3) in pixels of one face, sought in every 6th frame; None: no face."""
    boxes, previous, count = {}, None, 0
    for count, image in enumerate(images(clip, region), start=1):
        if (count - 1) % 6:
            continue
        big, scale, pad = enlarged(image)
        faces = face_meshes(mesh, big) / scale - pad
        if not len(faces):
            continue
        sizes = faces.max(1) - faces.min(1)
        chosen = int(np.argmax(sizes.max(1)))
        if previous is not None and len(faces) > 1:
            chosen = int(np.argmin(np.abs(faces.mean(1) - previous).sum(1)))
        previous = faces[chosen].mean(0)
        centre = (faces[chosen].max(0) + faces[chosen].min(0)) / 2
        boxes[count - 1] = (*centre, sizes[chosen].max())
    if len(boxes) < 2:
        return None
    known = np.array(list(boxes.values()))
    track = np.stack([np.interp(np.arange(count), list(boxes), known[:, q]) for q in range(3)], 1)
    track[:, 2] = np.median(track[:, 2])
    smooth = np.ones(9) / 9
    return np.stack([np.convolve(np.pad(column, 4, "edge"), smooth, "valid") for column in track.T], 1)


def face_crop(image: np.ndarray, box: np.ndarray, side: int = 480) -> np.ndarray:
    """The face (side, side, 3), 1.6 times its box wide."""
    import cv2

    scale, border = side / (1.6 * box[2]), cv2.BORDER_REPLICATE
    matrix = np.array([[scale, 0, side / 2 - scale * box[0]], [0, scale, side / 2 - scale * box[1]]])
    if scale > 0.7:
        return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=border)
    twice = cv2.warpAffine(image, matrix * 2, (2 * side, 2 * side), borderMode=border)
    return cv2.resize(twice, (side, side), interpolation=cv2.INTER_AREA)


def lip_points(path: Path, region: list[int] | None) -> np.ndarray:
    """LANDMARKS (frames, 8, 2) in pixels of a steady crop; nan where unseen; (0, 8, 2): no face."""
    import cv2
    import mediapipe

    cv2.setNumThreads(1)
    options = {"static_image_mode": True, "refine_landmarks": True, "min_detection_confidence": 0.3}
    with (
        mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=4, **options) as many,
        mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1, **options) as one,
    ):
        boxes = face_boxes(path, region, many)
        if boxes is None:
            return np.zeros((0, len(LANDMARKS), 2))
        points = np.full((len(boxes), len(LANDMARKS), 2), np.nan)
        for i, image in enumerate(images(path, region)):
            faces = face_meshes(one, face_crop(image, boxes[i]))
            if len(faces):
                points[i] = faces[0, LANDMARKS] / (480 / (1.6 * boxes[i, 2]))
    return points


def lip_opening(points: np.ndarray) -> np.ndarray:
    """Gap of the inner lips (frames,): 0 at the clip's 5th, 1 at its 90th percentile; nan unseen."""
    lengths = np.hypot(*(points[:, 0::2] - points[:, 1::2]).transpose(2, 0, 1))
    gap = lengths[:, :3].mean(1) / np.nanmedian(lengths[:, 3])
    low, high = np.nanpercentile(gap, [5, 90])
    return np.clip((gap - low) / max(high - low, 1e-4), 0, 1.2)


# ---- words and phones ----


def pcm(audio: np.ndarray) -> bytes:
    """16-bit samples with LEAD seconds of silence on both sides."""
    silence = np.zeros(int(LEAD * RATE))
    padded = np.concatenate([silence, audio / np.abs(audio).max() * 0.7, silence])
    return (padded * 32767).astype(np.int16).tobytes()


def listen(decoder, data: bytes) -> None:
    """Run a pocketsphinx decoder over a whole utterance."""
    decoder.start_utt()
    decoder.process_raw(data, full_utt=True)
    decoder.end_utt()


def heard(decoder, data: bytes) -> str:
    """The words of a whole utterance, "" for none."""
    listen(decoder, data)
    return decoder.hyp().hypstr if decoder.hyp() else ""


def recognised(audio: np.ndarray, folder: Path | None) -> str:
    """Moonshine tiny-en's words, made louder first where the audio is quiet."""
    import moonshine_voice
    from moonshine_voice.moonshine_api import ModelArch
    from moonshine_voice.transcriber import Transcriber

    folder = folder or Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
    louder = audio * min(20, 0.08 / max(1e-4, float(np.sqrt((audio**2).mean()))))
    padded = np.concatenate([np.zeros(4000), louder, np.zeros(8000)]).astype(np.float32)
    lines = Transcriber(str(folder), ModelArch.TINY).transcribe_without_streaming(padded.tolist(), RATE).lines
    return " ".join(line.text for line in lines)


def transcript(name: str, audio: np.ndarray, hand: dict, moonshine: Path | None) -> str:
    """The words: by hand, by the GRID grammar or by Moonshine, in this order; lower case without digits."""
    from pocketsphinx import Decoder

    if text := hand["texts"].get(name, {}).get("text"):
        return text
    if re.match(hand["grid"]["names"], name):
        grammar = Path(__file__).with_name("grid.gram")
        return heard(Decoder(lm=None, jsgf=str(grammar), loglevel="FATAL", samprate=RATE), pcm(audio))
    return " ".join(re.sub(r"[^a-z' ]", " ", recognised(audio, moonshine).lower()).split())


def aligned(text: str, audio: np.ndarray, spelled: dict[str, str]) -> list[Phone]:
    """Forced alignment, wider beams until one succeeds, else []; spelled: words the dictionary lacks."""
    from pocketsphinx import Decoder

    data = pcm(audio)
    for beam in BEAMS:
        decoder = Decoder(lm=None, loglevel="FATAL", samprate=RATE, **beam)
        for word, phones in spelled.items():
            decoder.add_word(word, phones, True)
        words = " ".join(w for w in text.split() if decoder.lookup_word(w) is not None)
        try:
            decoder.set_align_text(words)
            if not heard(decoder, data):
                continue
            decoder.set_alignment()
            listen(decoder, data)
        except RuntimeError:
            continue
        segments = [(w.name, p) for w in decoder.get_alignment() for p in w]
        if segments:
            return [
                Phone(w, p.name, p.start * FRAME - LEAD, (p.start + p.duration) * FRAME - LEAD)
                for w, p in segments
            ]
    return []


def prepared(clip: Clip, hand: dict, work: Path, moonshine: Path | None) -> Speech | None:
    """All that is needed of a clip, from the work folder if it lies there; None: no face or no text."""
    store = work / f"{clip.name}.npz"
    own = hand["texts"].get(clip.name, {})
    if not store.exists():
        audio, start = decode_audio(clip.path)
        points = lip_points(clip.path, own.get("region"))
        np.savez(store, audio=audio, start=start, times=frame_times(clip.path), points=points)
    with np.load(store) as z:
        audio, start, times, points = z["audio"], float(z["start"]), z["times"], z["points"]
    text_file = work / f"{clip.name}.json"
    if not text_file.exists():
        text = transcript(clip.name, audio, hand, moonshine)
        found = aligned(text, audio, own.get("spelled", {})) if text else []
        text_file.write_text(json.dumps({"text": text, "phones": [astuple(p) for p in found]}))
    phones = [Phone(*p) for p in json.loads(text_file.read_text())["phones"]]
    if not len(points) or len(phones) <= 6:
        return None
    count = min(len(times), len(points))
    opening = lip_opening(points[:count])
    seen = ~np.isnan(opening)
    return Speech(audio, start, times[:count][seen], opening[seen], phones)


# ---- closures: p, b and m ----


@dataclass(frozen=True)
class Closure:
    """Lips close and part again for p, b or m, as heard; the sides that the audio shows clearly."""

    word: str
    shut: float
    release: float
    shut_clear: bool
    release_clear: bool


def band_energy(audio: np.ndarray) -> np.ndarray:
    """Energy of 500..5000 Hz in dB, 10 ms windows every HOP seconds, smoothed over five."""
    hop, window = int(HOP * RATE), 160
    padded = np.pad(audio, (window // 2, window))
    frames = np.stack([padded[i * hop : i * hop + window] for i in range(len(audio) // hop)])
    power = np.abs(np.fft.rfft(frames * np.hanning(window), 512)) ** 2
    hertz = np.fft.rfftfreq(512, 1 / RATE)
    energy = 10 * np.log10(power[:, (hertz >= 500) & (hertz < 5000)].sum(1) + 1e-12)
    return np.convolve(np.pad(energy, 2, "edge"), np.ones(5) / 5, "valid")


def bilabial_runs(phones: list[Phone]) -> list[tuple[int, int]]:
    """First and last index of each run of neighbouring p, b, m."""
    marks = [p.name in BILABIAL for p in phones] + [False]
    starts = [i for i, m in enumerate(marks) if m and not (i and marks[i - 1])]
    return [(i, i + marks[i:].index(False) - 1) for i in starts]


def closures(speech: Speech) -> list[Closure]:
    """The closures whose edges the audio shows: steepest fall, then rise of the energy (>= 6 dB in 20 ms).

    A nasal's edges lie within 40 ms of the aligner's; a stop's need not, its segment also holds the burst.
    """
    energy, phones, found = band_energy(speech.audio), speech.phones, []
    slope = np.zeros(len(energy))
    slope[4:-4] = energy[8:] - energy[:-8]

    def near(second: float, sign: int) -> int:
        low, high = max(int((second - 0.04) / HOP), 4), min(int((second + 0.04) / HOP), len(energy) - 5)
        return low + int(np.argmax(sign * slope[low:high]))

    for i, j in bilabial_runs(phones):
        a = max(int((phones[i].start - 0.03) / HOP), 6)
        b = min(int((phones[j].end + 0.03) / HOP), len(energy) - 8)
        if b - a < 8:
            continue
        lowest, before = a + int(np.argmin(energy[a:b])), max(a - 8, 0)
        release = lowest + int(np.argmax(slope[lowest : min(b + 4, len(energy) - 1)]))
        shut = before + int(np.argmax(-slope[before : lowest + 1]))
        shut = near(phones[i].start, -1) if phones[i].name == "M" else shut
        release = near(phones[j].end, 1) if phones[j].name == "M" else release
        shut_clear = bool(-slope[shut] >= 6 and i and phones[i - 1].name != "SIL")
        release_clear = bool(slope[release] >= 6 and j + 1 < len(phones) and phones[j + 1].name != "SIL")
        if shut <= release and (shut_clear or release_clear):
            edges = (shut * HOP + speech.start, release * HOP + speech.start)
            found.append(Closure(phones[i].word, *edges, shut_clear, release_clear))
    return found


def contrast(speech: Speech, closure: Closure) -> np.ndarray:
    """(OFFSETS,) opening beside the closure less that within it, at each offset; nan outside the frame."""
    u = np.linspace(0, 1, 9)
    shut, release = closure.shut + OFFSETS[:, None], closure.release + OFFSETS[:, None]

    def opening(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        at = first + (last - first) * u
        return np.interp(at, speech.times, speech.opening, left=np.nan, right=np.nan).mean(1)

    sides = []
    if closure.release_clear:
        inside = opening(np.maximum(shut, release - 0.06), release - 0.005)
        sides.append(opening(release + 0.02, release + 0.10) - inside)
    if closure.shut_clear:
        inside = opening(shut + 0.005, np.minimum(release, shut + 0.06))
        sides.append(opening(shut - 0.10, shut - 0.02) - inside)
    return np.mean(sides, 0)


def closure_offsets(speech: Speech, branch: float) -> tuple[int, list[float]]:
    """How many closures could be compared; the offsets in s of those with a clear maximum near the branch.

    Near: 80 ms. Lips close every 150..300 ms for other phones too; the branch tells which closing is meant.
    """
    curves = [contrast(speech, c) for c in closures(speech)]
    curves = [c for c in curves if np.isfinite(c[np.abs(OFFSETS) <= 0.2]).all()]
    near, found = np.abs(OFFSETS - branch) <= 0.08 + SMALL, []
    for curve in curves:
        here = np.where(near, curve, -9)
        i = int(np.argmax(here))
        inner = 0 < i < len(OFFSETS) - 1 and here[i - 1] > -9 and here[i + 1] > -9
        if inner and curve[i] > 0.15:
            found.append(float(OFFSETS[i]))
    return len(curves), found


# ---- all phones ----


def mixture(speech: Speech) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (n,) every 10 ms, phone classes (n, 17) smoothed by 30 ms, which are speech (n,)."""
    times = np.arange(0, len(speech.audio) / RATE, FRAME) + speech.start
    classes = np.full(len(times), SILENCE)
    for p in speech.phones:
        inside = (times >= p.start + speech.start) & (times < p.end + speech.start)
        classes[inside] = NAMES.index(CLASS_OF.get(p.name, "SIL"))
    kernel = np.exp(-0.5 * (np.arange(-9, 10) * FRAME / 0.03) ** 2)
    padded = np.pad(np.eye(len(NAMES))[classes], ((9, 9), (0, 0)), "edge")
    mix = np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], 1)
    first, last = speech.phones[0], speech.phones[-1]
    begin = (first.end if first.name == "SIL" else first.start) + speech.start - 0.05
    end = (last.start if last.name == "SIL" else last.end) + speech.start + 0.05
    return times, mix, (times >= begin) & (times <= end) & (mix[:, SILENCE] < 0.5)


def detrended(speech: Speech) -> np.ndarray:
    """Square root of the opening (frames,) less its own mean over about 0.4 s."""
    even = np.arange(speech.times[0], speech.times[-1] + 0.001, 0.02)
    root = np.sqrt(np.interp(even, speech.times, speech.opening))
    kernel = np.exp(-0.5 * (np.arange(-50, 51) * 0.02 / 0.4) ** 2)
    mean = np.convolve(root, kernel)[50:-50] / np.convolve(np.ones(len(root)), kernel)[50:-50]
    return np.interp(speech.times, even, root - mean)


def openness(speeches: list[Speech]) -> np.ndarray:
    """(17,) how open the lips are in each phone class, by least squares; lips 18 ms ahead of the audio."""
    xs, ys = [], []
    for speech in speeches:
        times, mix, spoken = mixture(speech)
        y = np.interp(times - 0.018, speech.times, detrended(speech), left=np.nan, right=np.nan)
        use = spoken & np.isfinite(y)
        xs.append(mix[use])
        ys.append((y[use] - y[use].mean()) / y[use].std())
    x, y = np.concatenate(xs), np.concatenate(ys)
    return np.linalg.solve(x.T @ x + 5 * np.eye(x.shape[1]), x.T @ y)


@dataclass(frozen=True)
class Match:
    """The offset in s where all phones fit the lips best, and the correlation there.

    share: of 300 bootstraps (blocks of 0.3 s) within 60 ms of it; deviation: their standard deviation in s.
    """

    offset: float
    correlation: float
    share: float
    deviation: float

    @property
    def usable(self) -> bool:
        return self.share >= 0.85 and self.correlation > 0.35

    @property
    def sure(self) -> bool:
        return self.share > 0.9 and self.correlation > 0.4


def matched(speech: Speech, table: np.ndarray) -> Match:
    """Correlate the opening that the phones predict with the measured one, at every offset."""
    times, mix, spoken = mixture(speech)
    low, high = speech.times[0], speech.times[-1] + 0.04
    use = spoken & (times - 0.2 >= low) & (times + 0.2 <= high)
    predicted, lips = mix[use] @ table, detrended(speech)
    seen = np.stack([np.interp(times[use] + o, speech.times, lips) for o in OFFSETS], 1)
    block = ((times[use] - times[use][0]) / 0.3).astype(int)
    blocks = [block == b for b in np.unique(block)]
    own = np.array([[q.sum(), predicted[q].sum(), (predicted[q] ** 2).sum()] for q in blocks])
    sums, squares = (np.array([v[q].sum(0) for q in blocks]) for v in (seen, seen**2))
    products = np.array([(predicted[q, None] * seen[q]).sum(0) for q in blocks])

    def correlation(weights: np.ndarray) -> np.ndarray:
        n, p, pp = weights @ own
        y, yy, py = weights @ sums, weights @ squares, weights @ products
        return (py / n - p * y / n**2) / np.sqrt((pp / n - (p / n) ** 2) * (yy / n - (y / n) ** 2) + 1e-9)

    curve, rng, count = correlation(np.ones(len(blocks))), np.random.default_rng(0), len(blocks)
    draws = [np.bincount(rng.integers(0, count, count), minlength=count).astype(float) for _ in range(300)]
    peaks = np.array([OFFSETS[np.argmax(correlation(w))] for w in draws])
    best = float(OFFSETS[np.argmax(curve)])
    near = np.abs(peaks - best) < 0.06 - SMALL
    return Match(best, float(curve.max()), float(near.mean()), float(peaks[near].std()))


# ---- the whole ----


@dataclass(frozen=True)
class Row:
    """One clip's raw result: closures compared, offsets in s of the usable ones, the match of all phones."""

    clip: Clip
    compared: int
    tokens: list[float]
    match: Match


def measure(speeches: dict[Clip, Speech], hand: dict) -> list[Row]:
    """Rows of all clips; a control's openness table is of the other speakers (GRID: other clips)."""
    training = [c for c in speeches if c.group != "clips" and c.name not in hand["not_controls"]]
    rows = []
    for clip, speech in speeches.items():
        others = [c for c in training if clip not in training or c.speaker != clip.speaker]
        match = matched(speech, openness([speeches[c] for c in others]))
        rows.append(Row(clip, *closure_offsets(speech, match.offset), match))
    return rows


@dataclass(frozen=True)
class Zero:
    """What clips in sync come out at, in ms: to be subtracted; and how much clips scatter around it."""

    tokens_ms: float
    tokens_spread_ms: float
    phones_ms: float
    phones_spread_ms: float


def zero(rows: list[Row], hand: dict) -> Zero:
    """Means over tokens and over clips of the sure controls; spreads between those not of gs01."""
    out = {*hand["not_controls"], *hand["questioned"]}
    sure = [r for r in rows if r.clip.name not in out and r.match.sure]
    for group in ("grid", "val", "pretrain", "clips"):
        mine = [r for r in sure if r.clip.group == group]
        phones, tokens = [r.match.offset * 1000 for r in mine], [1000 * t for r in mine for t in r.tokens]
        print(f"{group}: {len(mine)} clips, phones {np.mean(phones):+.0f} SD {np.std(phones):.0f}; ", end="")
        print(f"{len(tokens)} tokens {np.mean(tokens):+.0f} SD {np.std(tokens):.0f} (raw ms)")
    diverse = [r for r in sure if r.clip.group != "grid"]
    return Zero(
        tokens_ms=round(1000 * float(np.mean([t for r in sure for t in r.tokens]))),
        tokens_spread_ms=1000 * float(np.std([np.median(r.tokens) for r in diverse if len(r.tokens) > 1])),
        phones_ms=round(1000 * float(np.mean([r.match.offset for r in sure]))),
        phones_spread_ms=1000 * float(np.std([r.match.offset for r in diverse])),
    )


def result(row: Row, zero: Zero) -> dict:
    """One clip's answer less the zero, 95 % intervals; phones without an interval are too weak."""
    tokens, match = row.tokens, row.match
    offset = 1000 * float(np.median(tokens)) - zero.tokens_ms if tokens else None
    # 15 ms is what a clip's tokens share; the controls' spread holds a bootstrap deviation of 12 ms already
    half = 1.96 * float(np.hypot(zero.tokens_spread_ms / np.sqrt(len(tokens)), 15)) if tokens else 0
    phones = 1000 * match.offset - zero.phones_ms
    extra = max(0, (1000 * match.deviation) ** 2 - 12**2)
    wide = 1.96 * float(np.sqrt(zero.phones_spread_ms**2 + extra))
    return {
        "offset_ms": None if offset is None else round(offset),
        "interval_ms": None if offset is None else [round(offset - half), round(offset + half)],
        "tokens": len(tokens),
        "phones_ms": round(phones),
        "phones_interval_ms": [round(phones - wide), round(phones + wide)] if match.usable else None,
        "phones_correlation": round(match.correlation, 2),
        "phones_share": round(match.share, 2),
        "compared": row.compared,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="What clips are off by as stored: closed lips against p, b, m"
    )
    parser.add_argument("clips", type=Path, nargs="+", help="folders or files")
    parser.add_argument("--controls", type=Path, required=True, help="the folder lrs2-mini")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--work", type=Path, default=Path("closures-work"), help="kept between runs")
    parser.add_argument("--moonshine", type=Path, help="folder tiny-en, else the installed one")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    hand = json.loads(Path(__file__).with_name("transcripts.json").read_text(encoding="utf-8"))
    speeches = {}
    for clip in clips_in(options.clips) + controls_in(options.controls):
        speech = prepared(clip, hand, options.work, options.moonshine)
        print(clip.name, "ready" if speech else "left out: no face or no aligned text", flush=True)
        if speech:
            speeches[clip] = speech
    rows = measure(speeches, hand)
    zeros = zero(rows, hand)
    print(zeros)
    results = {r.clip.name: result(r, zeros) for r in rows if r.clip.group == "clips"}
    for row in rows:
        print(row.clip.name, result(row, zeros), "raw tokens", [round(1000 * t) for t in row.tokens])
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
