"""The page for people: it says what the report says, is one file, and holds for any file name."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from media_factory import bar_clip
from report_factory import a_report, said

import avsync
from avsync.core.errors import UsageError
from avsync.core.report import (
    Fault,
    Offset,
    Reason,
    Report,
    ScoreMap,
    Segment,
    TrackReport,
    Unjudged,
    Verdict,
)
from avsync.core.timecode import timebase
from avsync.report.html import MAX_FACES, MAX_SECTIONS, advice, coverage_words, keeper, render, save_page

SHIFTS = np.arange(-15, 16)
PORTRAIT = b"\xff\xd8\xff a face"
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


DUBBED = Fault(20, 40, None, None, 0.95, "severe", "mismatch")


def an_offset(offset_ms: float = -120.0, evidence: float = 9.0) -> Offset:
    return Offset(offset_ms, 9.0, 0.93, evidence, False, SHIFTS, np.zeros(31, np.float32))


LATE = Report(
    "/films/late one.mp4",
    "out-of-sync",
    -120.0,
    9.0,
    0.93,
    tracks=(
        TrackReport(0, 0.0, 0.7, 13, an_offset(300.0, 0.0), False, 0.07, "too-little-evidence", PORTRAIT),
        TrackReport(1, 0.7, 8.0, 170, an_offset(), speaking=True, weight=1.0, portrait=PORTRAIT),
    ),
    segments=(Segment(0.7, 8.0, -120.0, 9.0, 0.93),),
    unjudged=(Unjudged(0.0, 0.7, "seen-too-briefly"),),
    score_map=ScoreMap(0.0, 0.4, (-40.0 * SHIFTS).astype(np.float64), np.zeros((20, 31), np.float32)),
    duration_s=8.0,
    stride=2,
    settings={
        "model": "avsync-1",
        "max_offset_ms": 600.0,
        "audio": None,
        "audio_track": None,
        "stride": None,
    },
    timings_s={"total": 12.3},
)

FAULT = Fault(2.0, 4.0, 210.0, 20.0, 0.8, "severe")


def page(*reports: Report) -> str:
    return render(reports, NOON)


def text(*reports: Report) -> str:
    """What a reader sees, with single spaces."""
    body = re.sub(r"<style>.*?</style>", " ", page(*reports), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def row(report: Report, *, name: str) -> str:
    found = re.search(rf"<dt>{name}</dt><dd>(.*?)</dd>", page(report), re.DOTALL)
    assert found
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found[1])).split())


# --- words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "mark", "words"),
    [
        ("in-sync", "✓", "In sync"),
        ("out-of-sync", "✕", "Out of sync"),
        ("mismatch", "≠", "Lips do not match"),
        ("cannot-tell", "?", "Cannot tell"),
        ("error", "!", "Error"),
    ],
)
def test_the_verdict_is_a_mark_and_words_besides_its_colour(verdict: Verdict, mark: str, words: str):
    page = text(replace(LATE, verdict=verdict, reasons=said("it is so")))
    assert f"{mark} {words}" in page


def test_it_says_how_far_off_and_what_to_do():
    said = text(LATE)
    assert "Audio is 120 ms late; advancing it by 120 ms fixes it." in said
    assert "avsync fix-offset '/films/late one.mp4' '/films/late one-fixed.mp4'" in said
    assert "audio 120 ms late ± 9 ms; likely, 93 % sure to within 40 ms" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("-rf.mp4", "./-rf.mp4 ./-rf-fixed.mp4"),
        ("a'b.mp4", """'a'"'"'b.mp4' 'a'"'"'b-fixed.mp4'"""),
        ("a\x1b[31m'\n\\.mp4", r"$'a\x1b[31m\'\x0a\\.mp4' $'a\x1b[31m\'\x0a\\-fixed.mp4'"),
        ("ü\u200b.mp4", r"$'ü\xe2\x80\x8b.mp4' $'ü\xe2\x80\x8b-fixed.mp4'"),
        ("\udce9.mp4", r"$'\xe9.mp4' $'\xe9-fixed.mp4'"),
    ],
)
def test_its_command_can_be_pasted_whatever_the_file_is_called(name: str, words: str):
    _, command = advice(replace(LATE, path=name))
    assert command == f"avsync fix-offset {words}"
    printed = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True)
    given = [os.fsdecode(word).removeprefix("./") for word in printed.stdout.split(b"\0")[:2]]
    assert given == [name, name.replace(".mp4", "-fixed.mp4")]


@pytest.mark.parametrize("path", ["https://example.org/a.mp4", "/films/a.m3u8", "standard input"])
def test_what_is_no_file_is_saved_first(path: str):
    words, command = advice(replace(LATE, path=path))
    assert "Save it as one file" in words
    assert not command


@pytest.mark.parametrize(("in_place", "faults"), [(False, ()), (True, (DUBBED,)), (True, ())])
def test_joined_recordings_are_cut_where_fix_offset_does_not_repair_them(in_place: bool, faults: tuple):
    values = {"jumps": 1, "at_s": [4.0], "stray": 0, "cut_at_bytes": [1024], "in_place": in_place}
    words, command = advice(replace(LATE, faults=faults, reasons=(Reason("clock-jumps", values),)))
    assert bool(command) == (in_place and not faults)
    assert command or "cut it after byte 1024" in words


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (replace(LATE, verdict="in-sync", offset_ms=5.0), "Nothing needs to be done"),
        (replace(LATE, verdict="mismatch"), "whether the right audio track was taken"),
        (
            replace(LATE, verdict="cannot-tell", reasons=said("why")),
            "does not mean that the video is",
        ),
        (replace(LATE, offset_ms=3.0, segments=(), faults=(DUBBED,)), "check whether they are dubbed"),
    ],
)
def test_no_command_is_offered_that_would_not_mend_it(report: Report, words: str):
    said = text(report)
    assert words in said
    assert "avsync fix-offset" not in said


@pytest.mark.parametrize(
    "report",
    [
        replace(LATE, drift_ms_per_min=60.0),
        replace(LATE, faults=(FAULT,)),
        pytest.param(replace(LATE, faults=(replace(FAULT, offset_ms=-5.0),)), id="a part that is in sync"),
    ],
)
def test_what_no_single_shift_mends_is_re_timed(report: Report):
    said = text(report)
    assert "No single shift fixes this" in said
    assert "late one-fixed.mp4' --method retime" in said


def test_a_brief_face_that_was_not_judged_is_in_the_table_and_among_the_faces():
    said = text(LATE)
    assert "0:00.0 to 0:00.7 0.7 s a face is seen too briefly to be compared" in said
    assert "Face 0: not judged 0:00.0 to 0:00.7 seen for only 0.7 s" in said
    assert row(LATE, name="Judged") == "7.3 s of 8.0 s were judged (91 %)."
    assert "at every moment" not in said
    assert "0:00.7 to 0:08.0 120 ms late" in said, "the table of what was measured leaves it out"


def test_all_is_judged_only_where_nothing_is_left_out():
    whole = replace(LATE, unjudged=())
    assert row(whole, name="Judged") == "All of its 8.0 s were judged."
    assert "A face was judged at every moment of the video." in text(whole)


def test_where_nothing_could_be_judged_it_says_so():
    nothing = replace(
        LATE, verdict="cannot-tell", segments=(), unjudged=(Unjudged(0.0, 8.0, "too-little-evidence"),)
    )
    assert row(nothing, name="Judged") == "None of its 8.0 s could be judged."
    blank = Report("x.mp4", "cannot-tell", reasons=said("No face is seen for long enough."))
    assert row(blank, name="Judged") == "None of it was judged."
    assert "No face was found." in text(blank)


def test_the_settings_are_those_that_were_used():
    said = text(LATE)
    assert "EBU R37, audio at most 40 ms early or 60 ms late" in said
    assert "Model avsync-1" in said
    assert "Largest error searched 600 ms, early or late" in said
    assert "Audio track the default track" in said
    assert "Looked at every second frame" in said


def test_drift_and_local_faults_are_named():
    assert "Drift" not in text(LATE)
    drifting = replace(LATE, drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=8.0)
    assert row(drifting, name="Drift") == "growing early by 60 ms a minute ± 8 ms"
    assert row(replace(LATE, drift_ms_per_min=0.0), name="Drift") == "none found"
    assert "0:02.0 to 0:04.0 210 ms early 80 % severe" in text(replace(LATE, faults=(FAULT,)))


CODED = replace(LATE, faults=(FAULT,), timebase=timebase(Fraction(25), 0.0, "10:00:00:00"))


def test_stretches_have_time_codes_and_frames_where_the_file_has():
    assert "0:02.0 to 0:04.0 10:00:02:00 to 10:00:04:00, frames 50 to 100 210 ms early" in text(CODED)


def test_a_fault_has_a_frame_that_says_what_it_shows():
    drawn = render([CODED], NOON, {0: {0: PORTRAIT}})
    (image,) = re.findall(r'<td class="still"><img src="(data:image/jpeg;base64,[^"]+)" alt="([^"]+)"', drawn)
    assert image[1] == "Frame in the middle of 0:02.0 to 0:04.0, where the audio is off: 210 ms early"


def test_the_page_of_a_real_file_shows_frames_of_its_faults(tmp_path: Path):
    clip = bar_clip(tmp_path / "bars.mp4")
    faults = (Fault(0.4, 0.8, 210.0, 20.0, 0.8, "severe"), Fault(900.0, 901.0, 1.0, 2.0, 0.9, "slight"))
    written = save_page(replace(LATE, path=str(clip), faults=faults), tmp_path / "page.html").read_text()
    assert written.count('<td class="still"><img') == 1
    clip.unlink()
    again = save_page(replace(LATE, path=str(clip), faults=faults), tmp_path / "page.html").read_text()
    assert '<td class="still">' not in again


def test_the_chart_has_the_offsets_of_each_face_by_itself():
    one = replace(LATE.tracks[1], segments=(Segment(0.7, 3.0, -120.0, 9.0, 0.9, own_offset_ms=-131.0),))
    two = replace(one, track=2, segments=(Segment(3.0, 8.0, -120.0, 9.0, 0.9, own_offset_ms=15.0),))
    said = text(replace(LATE, tracks=(one, two)))
    assert "face 1: 131 ms late" in said
    assert "face 2: 15 ms early" in said
    assert "0:00.7 to 0:03.0 131 ms late, outside the tolerance; 0:03.0 to 0:08.0 15 ms early, inside" in said


def test_the_settings_are_folded_away_until_they_are_asked_for_or_printed():
    assert re.search(r"<details>\s*<summary>.*Settings", page(LATE))
    assert re.search(r'<section class="on-paper">\s*<h.>Settings', page(LATE))


def test_each_reason_is_given_once():
    noted = replace(LATE, verdict="cannot-tell", reasons=said("Nothing stands out.", "the file breaks off"))
    assert text(noted).count("he file breaks off") == text(noted).count("othing stands out") == 1


def test_what_was_spared_is_one_sentence():
    gaps = (*LATE.unjudged, *(Unjudged(i * 100.0, i * 100 + 80.0, "not-needed") for i in range(1, 50)))
    said = text(replace(LATE, unjudged=gaps, duration_s=5000.0))
    assert "1:05:20 of it were skipped: the parts" in said
    assert said.count("seen too briefly to be compared") == 1
    assert "certain enough without it" not in said


def test_many_stretches_and_faces_are_cut_short_and_it_says_so():
    many = replace(
        LATE,
        unjudged=tuple(Unjudged(2.0 * i, 2.0 * i + 1, "no-face") for i in range(100)),
        tracks=LATE.tracks * 50,
        duration_s=200.0,
    )
    said = text(many)
    assert "These are the 40 longest stretches" in said
    assert said.count("Face 1:") == MAX_FACES
    assert "And 76 more faces" in said


def test_a_result_without_its_portraits_says_why_there_are_none():
    plain = replace(LATE, score_map=None, tracks=tuple(replace(t, portrait=None) for t in LATE.tracks))
    said = text(plain)
    assert "comes from an earlier run" in said
    assert "no image" in said


# --- one file, any name -------------------------------------------------------------------


class Tags(HTMLParser):
    """Checks that tags are closed in order, and collects attributes."""

    VOID = ("meta", "img", "br", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(*reports: Report) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page(*reports))
    assert parser.open == []
    return parser.seen


def test_only_the_script_of_the_page_itself_is_run():
    three = (LATE, LATE, LATE)
    (script,) = re.findall(r"<script>(.*?)</script>", page(*three), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in page(*three)
    assert not [name for _, attributes in tags(*three) for name in attributes if name.startswith("on")]


def test_a_page_with_nothing_to_sort_has_no_script():
    for reports in ((LATE,), (LATE, LATE)):
        assert "<script" not in page(*reports)
        assert "script-src" not in page(*reports)
        assert "button" not in {tag for tag, _ in tags(*reports)}


def test_nothing_is_fetched():
    found = tags(LATE, LATE)
    sources = [
        value or "" for _, attributes in found for key, value in attributes.items() if key in ("src", "href")
    ]
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in found}
    assert not re.search(r"https?://|@import", page(LATE))
    assert "default-src 'none'" in page(LATE)


def test_every_image_has_words_and_every_name_is_used_once():
    found = tags(LATE, replace(LATE, verdict="in-sync"))
    assert all(attributes.get("alt") for tag, attributes in found if tag == "img")
    names = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in found:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(names)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>.mp4",
        "a&b\"'.mp4",
        "\x1b[31m\u202egpj.mp4",
        "bad\udcff.mp4",
        "x {{ 7*7 }}.mp4",
    ],
)
def test_a_file_name_is_text_and_nothing_else(name: str, tmp_path: Path):
    report = replace(LATE, path=name, reasons=said(f"{name} is odd"))
    tags(report)
    written = save_page(report, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in written
    assert "alert" not in written or "&lt;script&gt;" in written
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "49" not in re.findall(r"<h1[^>]*>(.*?)</h1>", written)[0]


def test_a_page_replaces_an_older_one_but_nothing_else(tmp_path: Path):
    target = tmp_path / "page.html"
    save_page(LATE, target)
    assert save_page([LATE, LATE], target).read_text().startswith("<!doctype html>")
    target.write_bytes(b"\0\0\0\x18ftyp")
    with pytest.raises(UsageError, match="not a page"):
        save_page(LATE, target)


def test_it_is_part_of_the_package():
    assert avsync.save_page is save_page


# --- many files ---------------------------------------------------------------------------


def test_a_batch_has_counts_a_table_and_a_section_for_each_file():
    said = text(LATE, replace(LATE, path="good.mp4", verdict="in-sync", offset_ms=3.0))
    assert "2 videos" in said
    assert "1 ✓ In sync 1 ✕ Out of sync" in said
    assert said.count("Measured") == 2
    assert '<a href="#video-1">good.mp4</a>' in page(LATE, replace(LATE, path="good.mp4"))


def test_the_table_of_a_batch_has_offset_share_judged_and_the_worst_fault():
    broken = Report("/films/broken.mp4", "error", reasons=said("broken"))
    faults = (Fault(2.0, 4.0, 50.0, 9.0, 0.9, "clear"), Fault(5.0, 6.0, -400.0, 9.0, 0.9, "severe"))
    table = text(replace(LATE, faults=faults), broken)
    assert "✕ Out of sync late one.mp4 120 ms late 91 % 400 ms late at 0:05.0" in table
    assert "! Error broken.mp4 - - -" in table


def test_a_library_shows_in_full_only_what_is_not_in_sync():
    good = replace(LATE, path="good.mp4", verdict="in-sync", offset_ms=3.0)
    said = text(*[good] * MAX_SECTIONS, LATE)
    assert said.count("good.mp4") == MAX_SECTIONS
    assert said.count("Measured") == 1
    assert "The first 1 of those that are not in sync are shown in full below." in said


def test_portraits_are_kept_only_of_what_is_shown():
    good = replace(LATE, verdict="in-sync")
    few, many = keeper(MAX_SECTIONS), keeper(MAX_SECTIONS + 1)
    assert few(good).score_map is not None
    assert many(good).score_map is None
    assert many(LATE).tracks[0].portrait == PORTRAIT
    assert [many(LATE).score_map is None for _ in range(MAX_SECTIONS)] == [False] * (MAX_SECTIONS - 1) + [
        True
    ]


# --- in a browser -------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def browsed(inner: str, script: str, folder: Path, width: int = 1280) -> str:
    """What `script` makes of the document `d` of a page, by setting `answer`."""
    quoted = inner.replace("&", "&amp;").replace('"', "&quot;")
    outer = folder / "outer.html"
    outer.write_text(
        f'<body><iframe id="f" style="width:{width}px;border:0" srcdoc="{quoted}"></iframe><script>'
        'const f = document.getElementById("f"); f.onload = () => { const d = f.contentDocument; let answer;'
        f"{script}; document.title = answer }};</script>"
    )
    command = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900", "--dump-dom", outer.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    answer = re.search(r"<title>(.*?)</title>", done.stdout)
    assert answer, done.stderr
    return unescape(answer[1])


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_no_browser_scrolls_it_sideways_and_a_file_is_one_line(width: int, tmp_path: Path):
    long = replace(LATE, path="/" + "a-very-long-name" * 12 + ".mp4", faults=(FAULT,))
    inner = page(long, replace(LATE, verdict="mismatch"))
    answer = browsed(
        inner,
        "const rows = [...d.querySelectorAll('.files tbody tr')].map(row => row.offsetHeight);"
        "answer = [d.documentElement.scrollWidth, d.querySelectorAll('article').length, ...rows].join(' ')",
        tmp_path,
        width,
    )
    scrolls, articles, *heights = map(int, answer.split())
    assert scrolls <= width
    assert articles == 2
    assert max(heights) < 50, "a line of text is 24 pixels high"


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_a_phone_shows_offsets_shares_faults_and_names_of_usual_length_whole(tmp_path: Path):
    fault = replace(FAULT, offset_ms=-560.0)
    usual = replace(LATE, path="/interview-1.mp4", offset_ms=560.0, faults=(fault,))
    answer = browsed(
        page(usual, replace(LATE, verdict="mismatch")),
        "answer = [...d.querySelectorAll('.files tr:first-child > :not(.kind)')]"
        ".filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.textContent).join(', ')",
        tmp_path,
        390,
    )
    assert answer == ""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_the_table_of_a_batch_can_be_sorted(tmp_path: Path):
    offsets = (-120.0, 7.0, None, -30.0)
    inner = page(*(replace(LATE, path=f"{n}.mp4", offset_ms=offset) for n, offset in enumerate(offsets)))
    order = "[...d.querySelectorAll('.files tbody th')].map(cell => cell.textContent[0]).join('')"
    answer = browsed(
        inner,
        f"const b = d.querySelectorAll('.files thead button')[2]; b.click(); answer = {order};"
        f"b.click(); answer += ' ' + {order}",
        tmp_path,
    )
    assert answer == "0312 2130"


def test_what_lips_do_not_say_throughout_is_not_called_judged_at_an_offset():
    foreign = replace(a_report("mismatch", None), segments=(), unjudged=())
    assert coverage_words(foreign) == "In none of its 61.0 s do the lips fit the speech."
    assert coverage_words(replace(a_report(), unjudged=())) == "All of its 61.0 s were judged."
