"""QC profiles and configuration files: which number holds where several are given, and what is refused."""

from pathlib import Path

import pytest
from command import run

from avsync.core.config import find_config, read_config
from avsync.core.errors import UsageError
from avsync.core.options import as_keywords, check_options, plain
from avsync.core.profiles import PROFILES, load_profile
from avsync.pipeline.run import tolerance


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# --- profiles -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_that_is_built_in_can_be_used_and_says_where_its_numbers_come_from(name: str):
    chosen = check_options(profile=name)
    assert chosen.profile == name
    assert len(PROFILES[name].source) > 20


def test_a_user_profile(tmp_path: Path):
    path = written(
        tmp_path / "house.yaml",
        "tolerance_ms: [20, 40]\nmax_drift_ms_per_min: 10\nmin_judged: 0.8\nmin_fault_s: 0.5\nsource: us\n",
    )
    chosen = check_options(profile=path)
    assert chosen.tolerance_ms == (20.0, 40.0)
    assert (chosen.max_drift_ms_per_min, chosen.min_judged, chosen.min_fault_s) == (10, 0.8, 0.5)
    assert tolerance(chosen, None) == (20.0, 40.0)
    assert plain(chosen)["tolerance_ms"] == [20.0, 40.0]
    assert check_options(**as_keywords(chosen)) == chosen


def test_options_given_beside_a_profile_win(tmp_path: Path):
    path = written(tmp_path / "house.yaml", "tolerance_ms: [20, 40]\nmin_judged: 0.8\n")
    assert check_options(profile=path, min_judged=0.1).min_judged == 0.1
    assert check_options(profile=path, standard="itu").tolerance_ms is None
    assert check_options(profile="netflix", tolerance_ms=(5.0, 6.0)).tolerance_ms == (5.0, 6.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "sets nothing"),
        ("- 1\n", "sets nothing"),
        ("tolerance: [1, 2]\n", "there is no setting tolerance"),
        ("tolerance_ms: [1]\n", "tolerance_ms cannot be"),
        ("tolerance_ms: [-1, 2]\n", "cannot be -1"),
        ("min_judged: 2\n", "min_judged cannot be 2"),
        ("min_judged: yes\n", "min_judged cannot be True"),
        ("standard: none\n", "standard cannot be 'none'"),
        ("a: &a [1]\nb: *a\n", "it has aliases"),
        ("{\n", "it is not YAML"),
    ],
)
def test_a_profile_with_other_content_is_refused_in_one_sentence(text: str, said: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"house\.yaml") as error:
        load_profile(str(written(tmp_path / "house.yaml", text)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_profile_that_is_not_there():
    with pytest.raises(UsageError, match="the profiles are ebu"):
        load_profile("bbc")
    with pytest.raises(UsageError, match=r"nowhere.yaml cannot be read"):
        load_profile("nowhere.yaml")


# --- configuration ------------------------------------------------------------------------


def test_the_nearest_configuration_above_counts(tmp_path: Path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    outer = written(tmp_path / "avsync.toml", "[check]\nmin_judged = 0.1\n")
    assert find_config(below) == outer
    inner = written(tmp_path / "a" / "avsync.toml", "[check]\nmin_judged = 0.2\n")
    assert find_config(below) == inner


def test_paths_in_a_configuration_are_beside_it(tmp_path: Path):
    written(tmp_path / "house.yaml", "min_judged: 0.8\n")
    path = written(tmp_path / "avsync.toml", '[check]\nprofile = "house.yaml"\ntolerance_ms = [20, 40]\n')
    chosen = check_options(**read_config(path))
    assert chosen.min_judged == 0.8
    assert chosen.tolerance_ms == (20.0, 40.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[check\n", "is not TOML"),
        ("min_judged = 1\n", "a table [check]"),
        ("[check]\non_verdict = 'rm -rf /'\n", "sets 'on_verdict'"),
        ("[check]\naudio = 'x.wav'\n", "sets 'audio'"),
        ("[fix]\nx = 1\n", "no use for 'fix'"),
        ("check = 3\n", "no use for 'check'"),
    ],
)
def test_a_configuration_with_other_content_is_refused(text: str, said: str, tmp_path: Path):
    with pytest.raises(UsageError) as error:
        read_config(written(tmp_path / "avsync.toml", text))
    assert said in str(error.value)


# --- the command line ----------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose configuration asks for a model that is not there, so that no work begins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "typed", "said"),
    [
        ('model = "of the file"', [], "of the file"),
        ('model = "of the file"', ["--model", "typed"], "typed"),
        ("min_judged = 7", [], "avsync.toml: min_judged cannot be 7"),
        ('profile = "none"', [], "avsync.toml: There is no profile 'none'"),
        ('model = "x"', ["--profile", "none"], "There is no profile 'none'"),
        ('model = "x"', ["--min-judged", "7"], "--min-judged cannot be 7"),
        ('model = "x"', ["--tolerance", "0", "5"], "--tolerance cannot be"),
        ('model = "x"', ["--config", "nowhere.toml"], "no configuration nowhere.toml"),
    ],
)
def test_a_configuration_gives_defaults_and_its_errors_name_it(
    project: Path, config: str, typed: list[str], said: str
):
    written(project / "avsync.toml", f"[check]\n{config}\n")
    done = run("check", "x.mp4", *typed)
    assert done.exit_code in (2, 4)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "typed", "limits"),
    [
        ("min_judged = 0.2", {}, (0.2, None)),
        ("min_judged = 0.2", {"profile": "house.yaml"}, (0.8, (20.0, 40.0))),
        ("min_judged = 0.2", {"profile": "house.yaml", "min_judged": 0.3}, (0.3, (20.0, 40.0))),
        ('profile = "house.yaml"\nmin_judged = 0.2', {}, (0.2, (20.0, 40.0))),
        ('profile = "house.yaml"', {"standard": "itu"}, (0.8, None)),
        ("tolerance_ms = [1, 2]", {"standard": "itu"}, (0.5, None)),
        ("tolerance_ms = [1, 2]", {"profile": "netflix"}, (0.5, None)),
    ],
)
def test_the_setting_nearer_to_the_user_wins(
    project: Path, config: str, typed: dict[str, object], limits: tuple[float, object]
):
    """Typed options, the typed profile, the configuration, its profile, the defaults."""
    from avsync.cli.settings import settled

    written(project / "house.yaml", "tolerance_ms: [20, 40]\nmin_judged: 0.8\n")
    written(project / "avsync.toml", f"[check]\n{config}\n")
    chosen = settled(typed, None)
    assert (chosen.min_judged, chosen.tolerance_ms) == limits
