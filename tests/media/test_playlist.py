"""HLS on request: the same media as in one file, and nothing from outside the playlist's folder or host."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import imageio_ffmpeg
import pytest
from clap_factory import H264, clap, lag_ms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsync.core.errors import MediaError
from avsync.media.playlist import gathered, is_playlist

TS = ("-hls_segment_filename", "seg%d.ts")
FORMS: dict[str, tuple[str, ...]] = {
    "mpegts": TS,
    "fragmented-mp4": ("-hls_segment_type", "fmp4"),
    "byte-ranges": ("-hls_flags", "single_file"),
    "byte-ranges-of-mp4": ("-hls_flags", "single_file", "-hls_segment_type", "fmp4"),
}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clap(tmp_path_factory.mktemp("playlist") / "a.mkv", *H264, "-c:a", "aac")


def hls(source: Path, folder: Path, *options: str, name: str = "a.m3u8") -> Path:
    folder.mkdir(exist_ok=True)
    call = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), "-c", "copy"]
    form = ["-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod"]
    subprocess.run([*call, *form, *options, name], check=True, cwd=folder)
    return folder / name


def segments(*uris: str, before: str = "") -> str:
    lines = "".join(f"#EXTINF:1.0,\n{uri}\n" for uri in uris)
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n{before}{lines}#EXT-X-ENDLIST\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address of this machine, and the folder that it shows."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/away/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/away/"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


# --- The same media --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_segments_are_the_media(source: Path, tmp_path: Path, form: str):
    with gathered(hls(source, tmp_path, *FORMS[form])) as file:
        assert lag_ms(file) == pytest.approx(lag_ms(source), abs=1)
    assert not file.exists()


@pytest.mark.parametrize("form", ["mpegts", "fragmented-mp4"])
def test_separate_audio_of_a_variant_keeps_its_time(source: Path, tmp_path: Path, form: str):
    options = (*FORMS[form], "-hls_segment_filename", "%v-%d.seg", "-map", "0:a", "-map", "0:v")
    variants = ("-var_stream_map", "a:0,agroup:x,default:yes v:0,agroup:x", "-master_pl_name", "master.m3u8")
    hls(source, tmp_path, *options, *variants, name="%v.m3u8")
    with gathered(tmp_path / "master.m3u8") as file:
        assert lag_ms(file) == pytest.approx(lag_ms(source), abs=1)


def test_of_variants_the_best_is_taken(source: Path, tmp_path: Path):
    hls(source, tmp_path, *TS)
    (tmp_path / "bad.ts").write_text("nothing")
    written(tmp_path / "bad.m3u8", segments("bad.ts"))
    variant = "#EXT-X-STREAM-INF:BANDWIDTH={}\n{}\n"
    rows = variant.format(1000, "bad.m3u8") + variant.format(900_000, "a.m3u8")
    with gathered(written(tmp_path / "master.m3u8", f"#EXTM3U\n{rows}")) as file:
        assert lag_ms(file) == pytest.approx(lag_ms(source), abs=1)


def test_names_are_those_of_addresses(source: Path, tmp_path: Path):
    hls(source, tmp_path, *TS)
    inner = tmp_path / "a b"
    inner.mkdir()
    (tmp_path / "seg0.ts").rename(inner / "ü.ts")
    rest = sorted(path.name for path in tmp_path.glob("seg*.ts"))
    playlist = written(tmp_path / "b.m3u8", segments("a%20b/%C3%BC.ts?token=1", *rest))
    with gathered(playlist) as file:
        assert lag_ms(file) == pytest.approx(lag_ms(source), abs=1)


def test_a_playlist_of_an_address(source: Path, served: tuple[str, Path]):
    address, folder = served
    hls(source, folder, *TS)
    with gathered(f"{address}/a.m3u8") as file:
        assert lag_ms(file) == pytest.approx(lag_ms(source), abs=1)


# --- Nothing else ----------------------------------------------------------------------------


@pytest.fixture
def secret(source: Path, tmp_path: Path) -> Path:
    """A file that a playlist in tmp_path/here must not reach."""
    (tmp_path / "here").mkdir()
    return hls(source, tmp_path, *TS).with_name("seg0.ts")


@pytest.mark.parametrize(
    "uri",
    [
        "{}",
        "file://{}",
        "file:{}",
        "../seg0.ts",
        "%2e%2e/seg0.ts",
        "sub/../../seg0.ts",
        "link.ts",
        "linked/seg0.ts",
        "concat:{}|{}",
        "subfile,,start,0,end,99999,,:{}",
        "crypto:{}",
        "crypto+file:{}",
        "data:video/mp2t;base64,AAAA",
        "pipe:0",
        "http://127.0.0.1:9/a.ts",
        "//127.0.0.1:9/a.ts",
        "a\0.ts",
    ],
)
@pytest.mark.parametrize("place", ["segment", "map", "variant", "audio"])
def test_a_playlist_does_not_leave_its_folder(secret: Path, tmp_path: Path, uri: str, place: str):
    here = tmp_path / "here"
    (here / "link.ts").symlink_to(secret)
    (here / "linked").symlink_to(tmp_path, target_is_directory=True)
    (here / "own.ts").write_bytes(secret.read_bytes())
    named = uri.format(secret, secret)
    text = {
        "segment": segments("own.ts", named),
        "map": segments("own.ts", before=f'#EXT-X-MAP:URI="{named}"\n'),
        "variant": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{named}\n",
        "audio": f'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="x",NAME="x",URI="{named}"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="x"\nown.m3u8\n',
    }[place]
    written(here / "own.m3u8", segments("own.ts"))
    with pytest.raises(MediaError, match=r"not in its own folder|cannot be read|is damaged"):
        gathered(written(here / "a.m3u8", text)).__enter__()


@pytest.mark.parametrize("uri", ["http://localhost:{port}/seg0.ts", "https://127.0.0.1:{port}/seg0.ts",
                                 "http://127.0.0.1:9/a.ts", "file:///etc/passwd", "/away/file:///etc/passwd",
                                 "/away/http://localhost:{port}/seg0.ts", "http://[::1/x"])  # fmt: skip
def test_a_playlist_does_not_leave_its_host(source: Path, served: tuple[str, Path], uri: str):
    address, folder = served
    hls(source, folder, *TS)
    named = uri.format(port=address.rpartition(":")[2])
    written(folder / "b.m3u8", segments("seg0.ts", named))
    with pytest.raises(MediaError, match="not in its own host"):
        gathered(f"{address}/b.m3u8").__enter__()


def test_a_redirection_within_the_host_is_followed(source: Path, served: tuple[str, Path]):
    address, folder = served
    rest = sorted(path.name for path in hls(source, folder, *TS).parent.glob("seg*.ts"))
    written(folder / "b.m3u8", segments(*(f"/away//{name}" for name in rest)))
    with gathered(f"{address}/b.m3u8") as file:
        assert lag_ms(file) == pytest.approx(lag_ms(source), abs=1)


# --- Nothing without end -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no playlist",
        "#EXTM3U\n",
        segments(),
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n",
        segments("a.m3u8"),
        segments(*["own.ts"] * 1000),
        segments(*(f"own.ts?{n}" for n in range(1000))),
        "#EXTM3U\n" + "".join(f"#EXTINF:1,\n#EXT-X-BYTERANGE:60000@{n}\nown.ts\n" for n in range(1000)),
        "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:-5@-9\nown.ts\n",
        "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:x@y\nown.ts\n",
        segments("fifo"),
        segments("none.ts"),
        segments("."),
        segments("own.ts", before='#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n'),
        segments("own.ts").replace("1.0", "nan,\x00"),
    ],
)
def test_what_makes_no_media_ends_at_once_and_says_why(secret: Path, tmp_path: Path, text: str):
    here = tmp_path / "here"
    os.mkfifo(here / "fifo")
    (here / "own.ts").write_bytes(secret.read_bytes())
    playlist = written(here / "a.m3u8", text)
    try:
        with gathered(playlist) as file:
            assert file.stat().st_size <= 10 * secret.stat().st_size
    except MediaError as error:
        assert str(playlist.parent) in str(error)


LINES = st.sampled_from(
    ["#EXTM3U", "#EXTINF:1,", "#EXTINF:", "#EXT-X-BYTERANGE:9@0", "#EXT-X-BYTERANGE:@", "own.ts", "../a.ts",
     '#EXT-X-MAP:URI="own.ts",BYTERANGE="4@0"', "#EXT-X-MAP:", "#EXT-X-KEY:METHOD=NONE", "#EXT-X-KEY:",
     "#EXT-X-STREAM-INF:BANDWIDTH=x", "#EXT-X-STREAM-INF:", "#EXT-X-MEDIA:TYPE=AUDIO", "#EXT-X-ENDLIST",
     "#EXT-X-DISCONTINUITY", "#EXT-X-PART:", "#EXT-X-DATERANGE:ID=", "#EXT-X-PROGRAM-DATE-TIME:x"]
)  # fmt: skip


@pytest.mark.fuzz
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES | st.text(max_size=30), max_size=12))
def test_any_playlist_is_media_or_one_sentence(tmp_path: Path, lines: list[str]):
    (tmp_path / "own.ts").write_bytes(b"G" + bytes(187))
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("\n".join(["#EXTM3U", *lines]), encoding="utf-8", errors="surrogatepass")
    try:
        with gathered(playlist) as file:
            assert file.stat().st_size <= 188 * 10
    except MediaError as error:
        assert "\n" not in str(error)


def test_a_playlist_is_known_by_its_content(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    assert is_playlist(written(tmp_path / "a.mp4", "#EXTM3U\n"))
    assert is_playlist(written(tmp_path / "b.mp4", "\ufeff#EXTM3U\n"))
    assert not is_playlist(written(tmp_path / "c.m3u8", "ffconcat version 1.0\n"))
    assert not is_playlist(tmp_path / "none.m3u8")
    assert not is_playlist(tmp_path / "fifo")
