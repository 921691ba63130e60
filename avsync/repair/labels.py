"""Chapters, time codes, reel names and tags of a file, and what of them a copy has lost."""

from __future__ import annotations

from collections.abc import Sequence, Set

from avsync.repair.packets import TIME_TOLERANCE_S, Chapter, Contents, DifferentError, Packets, Stream

CHAPTER_TOLERANCE_S = 0.1
OWN_TAGS = frozenset(
    (
        *("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "modification_date"),
        *("operational_pattern_ul", "uid", "generation_uid", "company_name", "product_name"),
        *(
            "product_version",
            "product_version_num",
            "product_uid",
            "application_platform",
            "toolkit_version_num",
        ),
        *("material_package_umid", "file_package_umid"),
    )
)
"""Tags that every muxer writes anew; those of MXF tell packages and programs apart."""
STREAM_TAGS = ("language", "title", "filename", "mimetype")


def check_time_code(before: Contents, after: Contents, video_moved_s: float) -> None:
    """A time code track must stay with the video, if both files have one.

    Raises:
        DifferentError: it stayed behind.
    """
    old, new = ([s.start_s for s in file.streams if s.time_code] for file in (before, after))
    if len(old) == len(new):
        for a, b in zip(old, new, strict=True):
            if a is not None and b is not None and abs(b - a - video_moved_s) > TIME_TOLERANCE_S:
                raise DifferentError("its time code moved away from its video")


def check_chapters(before: Sequence[Chapter], after: Sequence[Chapter], video_moved_s: float) -> None:
    """Chapters must stay with the video.

    Raises:
        DifferentError: one is missing, renamed, or moved away.
    """
    if [c.title for c in before] != [c.title for c in after]:
        raise DifferentError(
            f"its chapters are not kept ({len(after)} of {len(before)} with the same titles)"
        )
    # QuickTime chapters leave no gaps, so the first one begins at 0 even if the video starts later.
    for old, new in list(zip(before, after, strict=True))[1:]:
        if abs(new.start_s - old.start_s - video_moved_s) > CHAPTER_TOLERANCE_S:
            raise DifferentError(f"chapter {old.title!r} moved away from its video")


def lost_tags(
    before: Contents,
    after: Contents,
    pairs: Sequence[tuple[Packets, Packets]],
    renewed: Set[str] = frozenset(),
) -> tuple[str, ...]:
    """What the target has lost: the file's tags, and the languages, titles and dispositions of its streams.
    `renewed`: time codes in whose place it has others."""
    kept = {key.lower(): value for key, value in after.tags.items()}
    lost = [
        f"the tag {key}"
        for key, value in before.tags.items()
        if key.lower() not in {*OWN_TAGS, "timecode", "reel_name"}
        and value.split(";")[0] not in kept.get(key.lower(), "")
    ]
    for old, new in pairs:
        number = f"stream {old.stream.index}"
        new_tags = _stream_tags(new.stream)
        lost += [
            f"the {key} of {number}" for key, v in _stream_tags(old.stream).items() if new_tags.get(key) != v
        ]
        if set(old.stream.dispositions) - set(new.stream.dispositions):
            lost.append(f"the dispositions of {number}")
    for tag, words in (("timecode", "time code"), ("reel_name", "reel name")):
        kept_values = _values(after, tag) | renewed
        lost += [f"the {words} {value}" for value in sorted(_values(before, tag) - kept_values)]
    return tuple(lost)


def time_codes(file: Contents) -> set[str]:
    """The time codes that a file, or a stream of it, has for its first frame."""
    return _values(file, "timecode")


def reel_names(file: Contents) -> set[str]:
    """The reel names that a file, or a stream of it, has."""
    return _values(file, "reel_name")


def _values(file: Contents, tag: str) -> set[str]:
    """The values of a tag of the file and of its streams."""
    every = (file.tags, *(s.tags for s in file.streams))
    return {value for tags in every for key, value in tags.items() if key.lower() == tag}


def _stream_tags(stream: Stream) -> dict[str, str]:
    """The tags worth keeping. What was written to MP4 as a title is read back as a name."""
    tags = {("title" if key.lower() == "name" else key.lower()): value for key, value in stream.tags.items()}
    return {key: value for key, value in tags.items() if key in STREAM_TAGS and value != "und"}
