"""Recorded speech for `--speech-corpus`, from packages of Debian 12: prompts of telephone exchanges,
dialogues of games, words for children. Seven hours in some thirty languages, 16 kHz FLAC of 1.5 to 30 s.

    python research/voices/gather.py VOICES --work PACKAGES

Needs Debian 12 or a system with its package lists (`apt-get download`, `dpkg-deb`), no root. Short prompts of
one speaker are laid one after the other with pauses. Licences: README.md beside this file. Seed 7.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from avsync.audio.vad import heard, listen, seconds
from avsync.audio.waveform import load_audio
from avsync.core.errors import AvsyncError
from avsync.core.records import Waveform

Samples = npt.NDArray[np.float32]
Named = Iterable[tuple[str, Samples]]

RATE = 16_000
SHORTEST_S, LONGEST_S = 1.5, 30.0
JOINED_S = (8.0, 20.0)
"""How long files of prompts get."""
PAUSE_S = (0.25, 0.7)
TASTED_S, LEAST_SPEECH = 2.5, 0.5
"""Seconds in the middle of a file that are listened to, and the share of them that must be speech."""
QUIET = 0.015
"""Share of the loudness of a prompt below which its ends are cut off."""
OLD_GAMES_HZ = 11_025
SPELT = {"digits", "letters", "phonetic", "ICAO"}
PROMPTS = {
    "asterisk-core-sounds-en-wav": "asterisk-en",
    "asterisk-core-sounds-es-wav": "asterisk-es",
    "asterisk-core-sounds-fr-wav": "asterisk-fr",
    "asterisk-core-sounds-it-wav": "asterisk-it",
    "asterisk-core-sounds-ru-wav": "asterisk-ru",
    "asterisk-prompt-it-menardi-wav": "asterisk-it-menardi",
    "asterisk-prompt-es-co": "asterisk-es-co",
    "asterisk-prompt-fr-armelle": "asterisk-fr-armelle",
}
WARZONE = (
    "cmndrvoc",
    "memressp",
    "tutorial",
    "vtoltalk",
    "nexus",
    "taunt1",
    "taunt3",
    "sequenceaudio",
    "extra",
)
HEDGEWARS = ("British", "Mobster", "Pirate", "Russian", "Russian_pl", "HillBilly", "Surfer", "Classic")


class Shelf:
    """Where files go, and what was put there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rng = folder, np.random.default_rng(7)

    def put(self, source: str, name: str, samples: Samples) -> None:
        """One file, or several where it is too long; none where it is too short or holds little speech."""
        if len(samples) > LONGEST_S * RATE:
            for number, part in enumerate(np.array_split(samples, -(-len(samples) // (25 * RATE)))):
                self.put(source, f"{name}-{number}", part)
        elif len(samples) >= SHORTEST_S * RATE and _spoken(samples):
            (self.folder / source).mkdir(parents=True, exist_ok=True)
            loud = max(1.0, float(np.abs(samples).max()) / 0.99)
            soundfile.write(self.folder / source / f"{name}.flac", samples / loud, RATE, subtype="PCM_16")

    def single(self, source: str, prompts: Named) -> None:
        """A file for each."""
        for name, samples in prompts:
            self.put(source, name, trimmed(samples))

    def joined(self, source: str, prompts: Named) -> None:
        """Prompts of one speaker, one after the other."""
        parts: list[Samples] = []
        first, goal, number = "", self.rng.uniform(*JOINED_S), 0
        for name, samples in [*((n, trimmed(s)) for n, s in prompts), ("", np.zeros(0, np.float32))]:
            length = sum(map(len, parts)) / RATE
            if parts and (length >= goal or length + len(samples) / RATE > LONGEST_S - 1 or not name):
                self.put(source, f"{number:04d}-{first}", np.concatenate(parts[:-1]))
                parts, goal, number = [], self.rng.uniform(*JOINED_S), number + 1
            if len(samples) >= PAUSE_S[0] * RATE:
                first = first if parts else name
                pause = self.rng.normal(0, 1e-4, int(self.rng.uniform(*PAUSE_S) * RATE))
                parts += [samples, pause.astype(np.float32)]

    def some(self, paths: list, count: int) -> list:
        """At most so many of them, in order."""
        if len(paths) <= count:
            return paths
        return [paths[i] for i in sorted(self.rng.choice(len(paths), count, replace=False))]


def _spoken(samples: Samples) -> bool:
    """Whether half of what is in its middle is speech."""
    middle, half = len(samples) // 2, min(len(samples), round(TASTED_S * RATE)) // 2
    audio = Waveform(samples[middle - half : middle + half], 0.0)
    return seconds(heard(listen(audio), 0.0)) >= LEAST_SPEECH * 2 * half / RATE


def trimmed(samples: Samples) -> Samples:
    """Without the silence at its ends, which fade."""
    steps = len(samples) // 320
    loudness = np.sqrt(np.square(samples[: steps * 320].reshape(steps, 320)).mean(1))
    if steps < 8 or (top := float(np.percentile(loudness, 95))) < 1e-3:
        return samples[:0]
    loud = np.flatnonzero(loudness > QUIET * top)
    kept = samples[max(0, loud[0] - 3) * 320 : (loud[-1] + 4) * 320].copy()
    fade = np.linspace(0, 1, 160, dtype=np.float32)
    kept[:160] *= fade
    kept[-160:] *= fade[::-1]
    return kept


def resampled(samples: npt.NDArray, rate: int) -> Samples:
    mono = samples.mean(1) if samples.ndim > 1 else samples
    return np.asarray(soxr.resample(mono.astype(np.float32), rate, RATE), np.float32)


def decoded(data: bytes) -> Samples:
    """An audio file in memory."""
    try:
        return resampled(*soundfile.read(io.BytesIO(data), dtype="float32"))
    except soundfile.LibsndfileError:
        return np.zeros(0, np.float32)


def bytes_of_1993(data: bytes) -> Samples:
    """Unsigned bytes, as games of that time hold audio."""
    return resampled((np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128, OLD_GAMES_HZ)


def files(paths: Iterable[Path]) -> Iterator[tuple[str, Samples]]:
    for path in paths:
        try:
            yield path.stem, load_audio(path).samples
        except AvsyncError as error:
            print(f"left out: {error}")


def asterisk(shelf: Shelf, packages: Packages) -> None:
    for package, source in PROMPTS.items():
        paths = [p for p in packages.files(package, ".wav", ".gsm") if "silence" not in p.parts]
        spelt = [p for p in paths if SPELT & set(p.parts)]
        shelf.joined(source, files(p for p in paths if p not in set(spelt)))
        if package.startswith("asterisk-core") or package.endswith("-wav"):
            shelf.joined(f"{source}-spelt", files(spelt))


def fillets(shelf: Shelf, packages: Packages) -> None:
    for language in ("cs", "nl"):
        for speaker in ("m", "v", "others"):
            paths = [p for p in packages.files(f"fillets-ng-data-{language}", ".ogg") if _fish(p) == speaker]
            lay = shelf.single if speaker == "others" else shelf.joined
            lay(f"fillets-{language}-{speaker}", files(shelf.some(paths, 220)))


def _fish(path: Path) -> str:
    """Who speaks: the small fish, the big one, or another."""
    found = re.match(r"[a-z0-9]+-([mv])-", path.name)
    return found[1] if found else "others"


def tuxpaint(shelf: Shelf, packages: Packages) -> None:
    languages: dict[str, list[Path]] = {}
    for path in packages.files("tuxpaint-stamps-default", ".ogg"):
        if found := re.search(r"_desc(?:_([a-z]{2,3}(?:_[A-Za-z]+)?))?$", path.stem):
            languages.setdefault(found[1] or "en", []).append(path)
    for language, paths in sorted(languages.items()):
        shelf.joined(f"tuxpaint-{language}", files(shelf.some(paths, 130)))


def queen(shelf: Shelf, packages: Packages) -> None:
    """Flight of the Amazon Queen: queen.1c begins with a list of names, places and sizes; the letter after
    six digits says who speaks, J for Joe."""
    (path,) = packages.files("flight-of-the-amazon-queen", ".1c")
    whole, joe, others = path.read_bytes(), [], []
    for i in range(int.from_bytes(whole[13:15], "big")):
        entry = whole[15 + 21 * i : 36 + 21 * i]
        name = entry[:12].split(b"\0")[0].decode("latin1")
        begin, size = (int.from_bytes(entry[a:b], "big") for a, b in ((13, 17), (17, 21)))
        if re.match(r"\d{6}[A-Z].*\.SB$", name):
            (joe if name[6] == "J" else others).append((name.split(".")[0], begin, size))
    for source, lay, found in (
        ("queen-en-joe", shelf.joined, joe),
        ("queen-en-others", shelf.single, others),
    ):
        lay(source, ((name, decoded(whole[b : b + n])) for name, b, n in shelf.some(found, 600)))


def drascula(shelf: Shelf, packages: Packages) -> None:
    speakers: dict[str, list[Path]] = {}
    for path in packages.files("drascula", ".ALS"):
        if (found := re.match(r"([A-Z]*)\d+\.ALS", path.name)) and found[1] != "S":
            speakers.setdefault(found[1] or "hero", []).append(path)
    for speaker, paths in speakers.items():
        shelf.joined(f"drascula-{speaker}", ((p.stem, bytes_of_1993(p.read_bytes()[64:-64])) for p in paths))


def children(shelf: Shelf, packages: Packages) -> None:
    for package in ("ktuberling-data", "klettres-data"):
        folders: dict[str, list[Path]] = {}
        for path in packages.files(package, ".ogg", ".oga", ".wav", ".mp3"):
            inside = path.parts[path.parts.index("sounds" if "kt" in package else "klettres") + 1]
            folders.setdefault(inside, []).append(path)
        for name, paths in folders.items():
            shelf.joined(f"{package.split('-')[0]}-{name}", files(shelf.some(paths, 60)))


def warzone(shelf: Shelf, packages: Packages) -> None:
    (path,) = (p for p in packages.files("warzone2100-data", ".wz") if p.name == "base.wz")
    with zipfile.ZipFile(path) as pack:
        names = sorted(name for name in pack.namelist() if name.endswith(".ogg"))
        for folder in WARZONE:
            inside = [name for name in names if Path(name).parent.name == folder]
            shelf.joined(
                f"warzone-{folder}", ((Path(name).stem, decoded(pack.read(name))) for name in inside)
            )


def hedgewars(shelf: Shelf, packages: Packages) -> None:
    for voice in HEDGEWARS:
        paths = [p for p in packages.files("hedgewars-data", ".ogg") if p.parent.name == voice]
        shelf.joined(f"hedgewars-{voice}", files(paths))


class Packages:
    """Debian packages, downloaded and unpacked once below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, package: str, *suffixes: str) -> list[Path]:
        """Its files with one of these endings, in the order of their names."""
        inside = self.folder / package
        if not inside.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", package], cwd=self.folder, check=True)
            (archive,) = self.folder.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "--extract", archive, inside], check=True)
        return sorted(p for p in inside.rglob("*") if p.suffix in suffixes and p.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description="Recorded speech out of packages of Debian 12.")
    parser.add_argument("voices", type=Path)
    parser.add_argument("--work", type=Path, default=Path("packages"))
    given = parser.parse_args()
    shelf, packages = Shelf(given.voices), Packages(given.work)
    for gather in (asterisk, fillets, tuxpaint, queen, drascula, children, warzone, hedgewars):
        gather(shelf, packages)
        length = sum(soundfile.info(p).duration for p in given.voices.rglob("*.flac"))
        print(f"{gather.__name__}: {length / 3600:.1f} h so far", flush=True)


if __name__ == "__main__":
    main()
