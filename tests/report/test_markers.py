"""Markers: every format holds the same stretches at the frames of the file, and other programs read them."""

import csv
import io
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import opentimelineio as otio
import pytest
from report_factory import FAULT, a_report

from avsync.core.errors import UsageError
from avsync.core.report import Fault, Report, Segment, Unjudged
from avsync.core.timecode import Timebase, timebase
from avsync.report.markers import WRITERS, markers, save_markers, to_csv, to_edl, to_fcpxml

NTSC = Fraction(30000, 1001)
BASES = {
    "25": timebase(Fraction(25)),
    "25 from ten": timebase(Fraction(25), 0.0, "10:00:00:00"),
    "29.97 drop": timebase(NTSC, 0.0, "01:00:00;00"),
    "29.97": timebase(NTSC, 0.0, "01:00:00:00"),
    "23.976": timebase(Fraction(24000, 1001), 0.5, "00:59:50:00"),
    "59.94 drop": timebase(2 * NTSC, 0.0, "22:59:50;00"),
}
EVENT = re.compile(r"(\d{3})  AX       V     C        (\S+) (\S+) (\S+) (\S+)")


def a_faulty(base: Timebase, path: str = "films/two men.mp4") -> Report:
    return replace(
        a_report(path=path),
        faults=(FAULT, Fault(44, 50, None, None, 0.95, "severe", "mismatch")),
        unjudged=(Unjudged(30.0, 61.0, "no-face"), Unjudged(5.0, 5.4, "no-face")),
        timebase=base,
    )


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_markers_are_the_verdict_the_faults_the_offsets_and_the_longer_gaps(base: Timebase):
    made = markers(a_faulty(base), base)
    assert [marker.kind for marker in made] == ["verdict", "judged", "fault", "not judged", "fault"]
    fault = made[2]
    assert fault.name == "audio 200 ms late"
    assert abs(fault.start / base.rate + base.first_s - 20) <= 0.5 / base.rate
    assert abs(fault.end / base.rate + base.first_s - 40) <= 0.5 / base.rate


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_opentimelineio_reads_its_own_format_back(base: Timebase, tmp_path: Path):
    path = save_markers(a_faulty(base), tmp_path / "out.otio")
    timeline = otio.adapters.read_from_file(str(path))
    (clip,) = timeline.find_clips()
    assert timeline.global_start_time.value == base.start_frame
    read = [(m.marked_range.start_time.value, m.marked_range.duration.value, m.color) for m in clip.markers]
    wanted = [
        (base.start_frame + marker.start, marker.end - marker.start, marker.colour)
        for marker in markers(a_faulty(base), base)
    ]
    assert read == wanted
    assert unquote(urlparse(clip.media_reference.target_url).path).endswith("films/two men.mp4")


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_an_edl_is_cmx_3600(base: Timebase):
    """The layout of the format: title, frame code mode, then events in columns, whose record times follow one
    another, each as long as its source."""
    lines = to_edl(a_faulty(base), base).splitlines()
    assert lines[0].startswith("TITLE: ")
    assert len(lines[0]) <= 70
    assert lines[1] == ("FCM: DROP FRAME" if base.drop else "FCM: NON-DROP FRAME")
    events = [EVENT.fullmatch(line) for line in lines if line[:1].isdigit()]
    assert [event and event[1] for event in events] == ["001", "002", "003", "004"]
    mark = ";" if base.drop else ":"
    for event in events:
        assert event
        assert all(re.fullmatch(rf"\d\d:\d\d:\d\d{mark}\d\d", event[column]) for column in (2, 3, 4, 5))
        assert (event[2], event[3]) == (event[4], event[5])


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_opentimelineio_finds_the_events_of_an_edl_at_the_frames_of_the_markers(base: Timebase):
    rate = float(base.rate)
    timeline = otio.adapters.read_from_string(to_edl(a_faulty(base), base), "cmx_3600", rate=rate)
    starts = [round(clip.source_range.start_time.value) for clip in timeline.find_clips()]
    day = 86_400 * base.nominal - (1296 * base.nominal // 15 if base.drop else 0)
    wanted = [(base.start_frame + marker.start) % day for marker in markers(a_faulty(base), base)[1:]]
    assert starts == wanted
    if not base.drop:  # its reader knows no drop-frame locators
        locators = [clip.markers[0] for clip in timeline.find_clips()]
        assert [round(m.marked_range.start_time.value) for m in locators] == wanted
        assert [m.color for m in locators] == ["RED", "RED", "YELLOW", "RED"]
        assert locators[1].name == "fault: audio 200 ms late"


def test_two_markers_on_one_frame_do_not_overlap_in_an_edl():
    base = BASES["25"]
    report = replace(a_faulty(base), faults=(FAULT, replace(FAULT, end_s=21.0)))
    events = [EVENT.fullmatch(line) for line in to_edl(report, base).splitlines() if line[:1].isdigit()]
    starts = [event[2] for event in events if event]
    assert starts == sorted(set(starts))


def test_an_edl_has_at_most_999_events_and_keeps_the_faults():
    base = BASES["25"]
    many = tuple(Segment(2.0 * n, 2.0 * n + 2, 0.0, 9.0, 0.95, own_offset_ms=0.0) for n in range(1100))
    late = replace(FAULT, start_s=2001.0, end_s=2003.0)
    report = replace(a_report(), segments=many, faults=(late,), timebase=base, duration_s=2200.0, unjudged=())
    text = to_edl(report, base)
    events = [line for line in text.splitlines() if line[:1].isdigit()]
    assert len(events) == 999
    assert all(EVENT.fullmatch(line) for line in events)
    assert "fault: audio 200 ms late" in text
    assert text.splitlines()[-1] == "* 102 MARKERS LEFT OUT: CMX 3600 HAS AT MOST 999 EVENTS"
    timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=25.0)
    assert len(list(timeline.find_clips())) == 999


@pytest.mark.parametrize("base", [BASES["25"], BASES["25 from ten"]])
def test_opentimelineio_finds_the_markers_of_an_fcpxml(base: Timebase):
    (timeline,) = otio.adapters.read_from_string(to_fcpxml(a_faulty(base), base), "fcpx_xml")
    (clip,) = timeline.find_clips()
    read = [(m.name, m.marked_range.start_time.value, m.marked_range.duration.value) for m in clip.markers]
    assert read == [
        (f"{m.kind}: {m.name}", base.start_frame + m.start, m.end - m.start)
        for m in markers(a_faulty(base), base)
    ]


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_times_in_an_fcpxml_are_whole_frames(base: Timebase):
    root = ElementTree.fromstring(to_fcpxml(a_faulty(base), base))  # noqa: S314 - our own
    for element in root.iter():
        for name in ("start", "duration", "offset", "tcStart", "frameDuration"):
            if time := element.get(name):
                assert time.endswith("s")
                assert (Fraction(time[:-1]) * base.rate).denominator == 1
    clip = root.find(".//asset-clip")
    assert clip is not None
    assert clip.get("tcFormat") == ("DF" if base.drop else "NDF")


def test_csv_has_time_codes_and_frames():
    base = BASES["29.97 drop"]
    rows = list(csv.DictReader(io.StringIO(to_csv(a_faulty(base), base))))
    fault = next(row for row in rows if row["kind"] == "fault")
    assert fault["start timecode"] == "01:00:19;29"
    assert (fault["start frame"], fault["end frame"]) == ("599", "1199")
    assert fault["offset ms"] == "-200"


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    "name", ["=cmd()|x.mp4", "a\x1b[31mb|c.mp4", "<&>'\".mp4", "\udce9.mp4", "001 x.mp4"]
)
def test_any_name_can_be_written(suffix: str, name: str, tmp_path: Path):
    report = a_faulty(BASES["25"], path=f"/films/{name}")
    path = save_markers(report, tmp_path / f"out{suffix}")
    text = path.read_text(encoding="utf-8")
    assert "\x1b" not in text
    if suffix == ".edl":
        assert len([line for line in text.splitlines() if line[:1].isdigit()]) == 4


@pytest.mark.parametrize("suffix", WRITERS)
def test_older_markers_are_replaced_but_nothing_else_is(suffix: str, tmp_path: Path):
    from avsync.core.files import protect
    from avsync.report.markers import MARKERS

    path = save_markers(a_faulty(BASES["25"]), tmp_path / f"out{suffix}")
    protect(path, MARKERS, "--markers")
    path.write_text("TITLE: My own cut\nFCM: NON-DROP FRAME\n")
    with pytest.raises(UsageError, match="is not a marker file written by avsync"):
        protect(path, MARKERS, "--markers")


def test_without_video_frames_there_are_no_markers(tmp_path: Path):
    with pytest.raises(UsageError, match="no video whose frames"):
        save_markers(a_report(), tmp_path / "out.csv")
    with pytest.raises(UsageError, match="not a marker file"):
        save_markers(a_faulty(BASES["25"]), tmp_path / "out.txt")
