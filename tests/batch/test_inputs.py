"""Lists of files: a path on each line, or a CSV file with a column of paths."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsync.batch import inputs
from avsync.batch.inputs import is_manifest, listed
from avsync.batch.one import check_safely
from avsync.core.errors import MediaError
from avsync.core.options import CheckOptions
from avsync.report.jsonl import stamp


@pytest.fixture(autouse=True)
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.mp4", "sub/b.mp4", "sub/c d.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def names(manifest: Path) -> list[str]:
    return [path.name for path in listed(manifest)]


def test_a_text_file_has_a_path_on_each_line(tmp_path: Path):
    text = "a.mp4\r\n\n# not these\n#a.mp4\n  sub/c d.mkv  \nsub/b.mp4"
    assert listed(write(tmp_path / "list.txt", text)) == [
        tmp_path / "a.mp4",
        tmp_path / "sub/c d.mkv",
        tmp_path / "sub/b.mp4",
    ]


def test_paths_are_those_beside_the_list_else_those_beside_the_user(tmp_path: Path):
    assert listed(write(tmp_path / "sub/list.txt", "b.mp4\na.mp4\n")) == [
        tmp_path / "sub/b.mp4",
        Path("a.mp4"),
    ]
    absolute = tmp_path / "a.mp4"
    assert listed(write(tmp_path / "sub/list.txt", f"{absolute}\n")) == [absolute]


@pytest.mark.parametrize(
    "text",
    [
        "path,title\na.mp4,x\nsub/b.mp4,y\n",
        "\ufefftitle;Path\r\nx;a.mp4\r\n\r\ny;sub/b.mp4\r\n",
        "id\tfile\n1\ta.mp4\n2\tsub/b.mp4\n",
        'path,title\n"a.mp4","x, y"\n"sub/b.mp4","two\nlines"\n',
    ],
)
def test_a_csv_file_has_a_column_of_paths(text: str, tmp_path: Path):
    assert names(write(tmp_path / "list.csv", text)) == ["a.mp4", "b.mp4"]


def test_a_csv_file_without_such_a_column_is_one_sentence(tmp_path: Path):
    with pytest.raises(MediaError, match="no column 'path'"):
        listed(write(tmp_path / "list.csv", "title,length\na.mp4,3\n"))


def test_a_file_that_is_missing_stays_in_the_list_to_be_reported(tmp_path: Path):
    assert names(write(tmp_path / "list.txt", "a.mp4\nnone.mp4\n")) == ["a.mp4", "none.mp4"]


@pytest.mark.parametrize("text", ["", "Dear all,\nplease find enclosed\n", "\0\0"])
def test_a_text_that_is_not_a_list_is_one_sentence(text: str, tmp_path: Path):
    with pytest.raises(MediaError, match="names no file that exists"):
        listed(write(tmp_path / "list.txt", text))


def test_a_name_that_is_not_valid_text_is_found(tmp_path: Path):
    odd = tmp_path / "odd\udcff.mp4"
    try:
        odd.touch()
    except OSError:
        pytest.skip("this file system has text for names")
    (tmp_path / "list.txt").write_bytes(b"odd\xff.mp4\n")
    assert listed(tmp_path / "list.txt") == [odd]


def test_a_batch_takes_lists_beside_files_and_folders(tmp_path: Path):
    manifest = write(tmp_path / "list.txt", "sub\na.mp4\n")
    assert is_manifest(manifest)
    assert not is_manifest(tmp_path / "none.txt")
    assert not is_manifest(tmp_path / "a.mp4")
    found = inputs.find_media([tmp_path / "sub/c d.mkv", manifest])
    assert [path.name for path in found] == ["c d.mkv", "b.mp4", "a.mp4"]


def test_a_line_that_is_not_a_name_is_a_row_like_any_other(tmp_path: Path):
    (tmp_path / "x.mp4").touch()
    (tmp_path / "list.txt").write_bytes(b"a\0b.mp4\nx.mp4\n" + b"a" * 5000 + b"\n")
    odd, video, long = inputs.find_media([tmp_path / "list.txt"])
    assert video == tmp_path / "x.mp4"
    assert check_safely(long, CheckOptions()).verdict == "error"
    report = check_safely(odd, CheckOptions())
    assert report.verdict == "error"
    assert "holds a zero byte" in report.reasons[0].values["message"]


LISTS = st.binary(max_size=300) | st.text("abx.mp4,;\t\"'#\r\n\0 pathfile", max_size=120).map(str.encode)


@pytest.mark.fuzz
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LISTS, st.sampled_from([".txt", ".csv", ".lst"]))
def test_whatever_a_list_holds_it_is_read_or_refused(tmp_path: Path, content: bytes, suffix: str):
    (tmp_path / "x.mp4").touch()
    path = tmp_path / f"list{suffix}"
    path.write_bytes(content)
    try:
        found = inputs.find_media([path])
    except MediaError:
        return
    assert found
    for file in found:
        stamp(file, CheckOptions())
