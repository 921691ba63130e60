"""From made score matrices to an offset, its probability, segments and a verdict."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores_factory import made

from avsync.core.constants import MIN_PROBABILITY
from avsync.core.records import Scores
from avsync.core.report import Offset, Reason, Segment
from avsync.estimate.calibration import FEATURES, Calibration, log_ratios
from avsync.estimate.drift import straightened
from avsync.estimate.jumps import place
from avsync.estimate.offset import choose_speaker, combine, estimate, pooled
from avsync.estimate.peak import Evidence, Seams, average, evidence, measure, peak
from avsync.estimate.speakers import cells, weigh
from avsync.report.reasons import reason_words

seeds = st.integers(0, 10_000)


def judged_share(segments: Sequence[Segment]) -> float:
    total = sum(s.end_s - s.start_s for s in segments)
    return sum(s.end_s - s.start_s for s in segments if s.offset_ms is not None) / total


def only(answer: Offset) -> float:
    assert answer.offset_ms is not None
    return answer.offset_ms


# --- The curve and its peak -------------------------------------------------------------------


@given(place=st.floats(-13, 13), width=st.floats(0.8, 3))
@settings(deadline=None)
def test_peak_is_found_between_the_candidates(place, width):
    shifts = np.arange(-15, 16)
    offset, at_edge = peak(-((shifts - place) ** 2) / width, shifts)
    assert offset == pytest.approx(-40 * place, abs=1e-6)
    assert not at_edge


@pytest.mark.parametrize("fraction", [-0.5, -0.3, -0.1, 0.0, 0.2, 0.4])
def test_sub_frame_peaks_are_unbiased_under_noise(fraction):
    errors = [only(estimate(made(250, 4 + fraction, seed=s))) + 40 * (4 + fraction) for s in range(12)]
    assert abs(np.mean(errors)) < 4
    assert np.max(np.abs(errors)) < 15


def test_a_peak_on_the_last_candidate_is_at_the_edge():
    shifts = np.arange(-3, 4)
    assert peak(shifts.astype(float), shifts) == (-120.0, True)
    assert peak(-shifts.astype(float), shifts) == (120.0, True)
    with pytest.raises(ValueError, match="no candidate"):
        peak(np.full(7, np.nan), shifts)


def test_positive_shift_of_the_audio_is_audio_late():
    # Shift k pairs the frame at t with the audio at t + k/25 s: audio that comes later is late.
    assert only(estimate(made(shift=3.0))) == pytest.approx(-120, abs=10)


@given(seed=seeds, by=st.integers(-6, 6))
@settings(max_examples=15, deadline=None)
def test_relabelling_the_shifts_moves_the_answer(seed, by):
    scores = made(100, 1.3, seed=seed)
    moved = replace(scores, shifts=scores.shifts + by)
    assert only(estimate(moved)) == pytest.approx(only(estimate(scores)) - 40 * by, abs=1e-6)


@given(seed=seeds, by=st.floats(0.5, 6))
@settings(max_examples=15, deadline=None)
def test_a_constant_added_to_all_windows_changes_the_probability_alone(seed, by):
    """Lips and audio that go together better at every offset, the answer's among them, are surer to be one
    speaker's, as far as a calibration counts that."""
    scores = made(80, -2.4, seed=seed)
    counting = Calibration(weights=(-2.0, 0.1, 0.1, 0.1, 0.0, 0.0, 0.2, 0.1))
    low, high = (
        measure(evidence(replace(scores, logits=scores.logits + c), counting), counting) for c in (0, by)
    )
    assert high.offset_ms == pytest.approx(low.offset_ms, abs=1e-3)
    for each in (FEATURES.index("level"), FEATURES.index("overall")):
        assert high.features[each] == pytest.approx(low.features[each] + by, abs=1e-3)
    assert high.probability > low.probability


def test_without_a_drift_ratios_and_logits_stay_beside_each_other():
    found = evidence(made(80, -2.4), Calibration())
    straight = straightened(found, 300.0, 1.6)
    moved = np.nanargmax(straight.rows, axis=1) != np.nanargmax(found.rows, axis=1)
    assert moved.any()
    ratios = log_ratios(found.logits, Calibration.temperature, Calibration.outlier)
    np.testing.assert_array_equal(np.isfinite(straight.logits), np.isfinite(straight.rows))
    for ratio, logit, before, level in zip(straight.rows, straight.logits, ratios, found.logits, strict=True):
        there = np.isfinite(ratio)
        np.testing.assert_allclose(np.interp(logit[there], np.sort(level), np.sort(before)), ratio[there])


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_constant_added_to_a_window_changes_nothing(seed):
    scores = made(80, -2.4, seed=seed)
    constants = np.random.default_rng(seed).normal(0, 4, (80, 1)).astype(np.float32)
    a, b = estimate(scores), estimate(replace(scores, logits=scores.logits + constants))
    assert only(a) == pytest.approx(only(b), abs=0.01)
    assert a.probability == pytest.approx(b.probability, abs=0.01)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_order_of_windows_does_not_matter(seed):
    scores = made(80, 2.2, seed=seed)
    order = np.random.default_rng(seed).permutation(80)
    shuffled = replace(scores, times_s=scores.times_s[order], logits=scores.logits[order])
    assert only(estimate(shuffled)) == only(estimate(scores))
    same_times = replace(scores, logits=scores.logits[order])
    np.testing.assert_allclose(average(same_times), average(scores), atol=1e-9)


def test_the_same_scores_give_the_same_answer():
    a, b = estimate(made(seed=3)), estimate(made(seed=3))
    assert (a.offset_ms, a.uncertainty_ms, a.probability) == (b.offset_ms, b.uncertainty_ms, b.probability)


# --- Missing candidates -----------------------------------------------------------------------


@given(seed=seeds, shift=st.integers(-9, 9))
@settings(max_examples=25, deadline=None)
def test_pairs_beyond_the_ends_of_a_clip_neither_win_nor_lose(seed, shift):
    answer = estimate(made(75, float(shift), height=6, seed=seed, ends=True, silent=0.1))
    assert only(answer) == pytest.approx(-40 * shift, abs=25)


def test_in_noise_a_candidate_that_few_windows_have_wins_no_more_often_than_others():
    tops = [int(np.nanargmax(average(made(40, height=0, seed=s, ends=True)))) for s in range(300)]
    rare = np.mean([abs(t - 15) > 10 for t in tops])
    assert rare < 2 * 10 / 31


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_missing_candidates_never_make_a_confident_edge(seed):
    rng = np.random.default_rng(seed)
    scores = made(100, height=0, seed=seed)
    kept = rng.random(31) < 0.6
    logits = np.where(kept | (rng.random((100, 31)) < 0.05), scores.logits, np.nan).astype(np.float32)
    answer = estimate(replace(scores, logits=logits))
    assert not (answer.at_edge and answer.probability >= MIN_PROBABILITY)
    edges = {-40.0 * k for k in scores.shifts[kept][[0, -1]]} if kept.sum() > 1 else set()
    assert answer.offset_ms not in edges or answer.at_edge


def test_no_window_and_all_missing_are_answers_not_errors():
    scores = made(20)
    for empty in (
        replace(scores, logits=np.full((20, 31), np.nan, np.float32)),
        replace(scores, logits=scores.logits[:0], times_s=scores.times_s[:0]),
    ):
        answer = estimate(empty)
        assert answer.offset_ms is None
        assert answer.reasons == (Reason("no-face-judged"),)


def test_one_window_is_never_confident():
    answer = estimate(made(1, 0.0, height=30, silent=0))
    assert answer.probability < MIN_PROBABILITY
    assert answer.reasons[0].kind == "too-brief"


@pytest.mark.parametrize("windows", [1, 11, 21])
def test_no_more_is_said_to_be_judged_than_there_is(windows: int):
    """Independent moments are counted in steps that are longer than the last of them may be."""
    (reason, *_) = estimate(made(windows, 0.0, height=1, silent=0)).reasons
    assert reason.kind == "too-brief"
    assert reason.values["seconds"] <= (windows + 4) * 0.04 + 1e-6


# --- How sure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 50, 250, 750])
def test_pure_noise_is_almost_never_confident(n):
    confident = [estimate(made(n, height=0, seed=s)).probability >= MIN_PROBABILITY for s in range(40)]
    assert np.mean(confident) <= 0.05


def test_clear_speech_is_confident_and_within_its_uncertainty():
    answers = [estimate(made(125, 2.7, seed=s)) for s in range(20)]
    assert min(a.probability for a in answers) > MIN_PROBABILITY
    inside = [abs(only(a) + 108) <= (a.uncertainty_ms or 0) for a in answers]
    assert np.mean(inside) >= 0.9


TOTAL = FEATURES.index("total")


def contradicted(n: int = 100) -> Scores:
    """Windows each sure of some offset, now of this and now of that, and a little more often of 0."""
    rng = np.random.default_rng(0)
    scores = made(n, height=0)
    logits = rng.normal(0, 0.5, scores.logits.shape)
    sure = np.where(rng.random(n) < 0.2, 15, rng.integers(0, 31, n))
    logits[np.arange(n), sure] += 8
    return replace(scores, logits=logits.astype(np.float32))


def test_an_offset_that_most_windows_speak_against_has_no_total_evidence():
    found = measure(evidence(contradicted(), Calibration()), Calibration())
    fits = measure(evidence(made(100), Calibration()), Calibration())
    assert np.nanargmax(found.curve) == 15
    assert found.features[TOTAL] < 0.3 * fits.features[TOTAL]


def test_candidates_that_few_windows_have_gather_less_evidence():
    whole = made(40, 8.0)
    lacking = whole.logits.copy()
    lacking[20:, 23] = np.nan
    full = measure(evidence(whole, Calibration()), Calibration())
    half = measure(evidence(replace(whole, logits=lacking), Calibration()), Calibration())
    assert half.offset_ms == pytest.approx(full.offset_ms, abs=40)
    assert half.features[TOTAL] < full.features[TOTAL]


def test_more_speech_makes_the_answer_surer():
    short, long = estimate(made(60, height=2)), estimate(made(600, height=2))
    assert long.probability > short.probability
    assert (long.uncertainty_ms or 0) < (short.uncertainty_ms or 0)
    assert long.evidence > short.evidence


def test_windows_that_only_repeat_their_neighbour_add_no_certainty():
    sparse = made(60, 1.0, height=2, stride=5)
    repeated = replace(
        sparse,
        logits=np.repeat(sparse.logits, 5, axis=0),
        times_s=np.repeat(sparse.times_s, 5) + np.tile(np.arange(5) / 25, 60),
    )
    once, five_times = estimate(sparse), estimate(repeated)
    assert five_times.uncertainty_ms == pytest.approx(once.uncertainty_ms, rel=0.1)
    assert five_times.probability == pytest.approx(once.probability, abs=0.03)


def test_the_edge_of_the_search_is_never_confident_and_says_what_to_do():
    answer = estimate(made(250, 15.0))
    assert answer.at_edge
    assert answer.probability < MIN_PROBABILITY
    assert answer.reasons[0] == Reason("at-edge", {"searched_ms": 600.0})
    assert "--max-offset-ms 1200" in reason_words(answer.reasons[0])
    assert estimate(made(250, 17.0)).at_edge  # the top itself lies beyond; only its slope is seen


def test_two_offsets_that_compete_are_named():
    a, b = made(240, 6.0, height=6, seed=1), made(240, -7.0, height=6, seed=2)
    mixed = np.where(np.arange(240)[:, None] % 16 < 8, a.logits, b.logits)
    answer = estimate(replace(a, logits=mixed))
    assert answer.probability < 0.8
    doubt = " ".join(
        map(
            reason_words,
            estimate(replace(a, logits=mixed), Calibration(weights=(-9, 0, 0, 0, 0, 0, 0, 0))).reasons,
        )
    )
    assert "two offsets compete" in doubt
    named = sorted(float(number) for number in re.findall(r"([+-]\d+) ms", doubt))
    assert named == pytest.approx([-240, 280], abs=10)


def test_another_peak_lowers_the_probability_and_leaves_the_interval():
    a, b = made(240, 6.0, height=6, seed=1), made(240, -7.0, height=6, seed=2)
    rivals = estimate(replace(a, logits=np.where(np.arange(240)[:, None] % 16 < 9, a.logits, b.logits)))
    alone = estimate(a)
    assert rivals.probability < alone.probability
    assert (rivals.uncertainty_ms or 0) < 100


def test_flat_scores_are_called_flat():
    answer = estimate(made(300, height=0))
    [why] = answer.reasons
    assert why == Reason("flat", {"searched_ms": 600.0})


def test_the_bias_of_a_model_is_taken_off():
    plain, less = estimate(made(shift=1.0)), estimate(made(shift=1.0), Calibration(bias_ms=12.0))
    assert only(less) == pytest.approx(only(plain) - 12)


# --- Along the video --------------------------------------------------------------------------


def test_a_constant_offset_is_one_segment_without_drift():
    answer = estimate(made(1500, 2.0))
    assert [only_ms(s) for s in answer.segments] == [pytest.approx(-80, abs=8)]
    assert answer.drift_ms_per_min == 0
    assert answer.reasons == ()


def only_ms(segment: Segment) -> float:
    assert segment.offset_ms is not None
    return segment.offset_ms


@pytest.mark.parametrize("frames", [-6.0, 3.0])
def test_drift_is_measured(frames):
    answer = estimate(made(1500, np.linspace(0, frames, 1500), seed=1))
    assert answer.drift_ms_per_min == pytest.approx(-40 * frames, rel=0.1)
    assert only(answer) == pytest.approx(-20 * frames, abs=10)
    assert 0 < (answer.drift_uncertainty_ms_per_min or 0) < 40
    assert len(answer.segments) > 1
    for s in answer.segments:
        middle = (s.start_s + s.end_s) / 2 / 60
        assert only_ms(s) == pytest.approx(-40 * frames * middle, abs=12)


def test_a_jump_is_placed_in_time():
    frame = np.arange(1500)
    answer = estimate(made(1500, np.where((frame >= 500) & (frame < 1000), 3.0, 0.0), seed=2))
    assert [only_ms(s) for s in answer.segments] == pytest.approx([0, -120, 0], abs=10)
    assert [s.start_s for s in answer.segments[1:]] == pytest.approx([20, 40], abs=0.8)
    assert [s.fault for s in answer.segments] == [False, True, False]
    assert not answer.drift_ms_per_min


@pytest.mark.parametrize("seconds", [20, 30])
def test_a_wrong_middle_third_of_a_short_clip_is_a_fault(seconds):
    n = 25 * seconds
    frame = np.arange(n)
    for seed in range(3):
        answer = estimate(made(n, np.where((frame >= n // 3) & (frame < 2 * n // 3), 5.0, 0.0), seed=seed))
        assert [only_ms(s) for s in answer.segments] == pytest.approx([0, -200, 0], abs=15)
        assert [s.fault for s in answer.segments] == [False, True, False]
        assert only(answer) == pytest.approx(0, abs=10)


def test_what_comes_before_and_after_a_fault_counts_together():
    frame = np.arange(375)
    answer = estimate(made(375, np.where((frame >= 125) & (frame < 250), 5.0, 0.0), height=2.0, seed=4))
    alone = estimate(made(125, 0.0, height=2.0, seed=4))
    assert answer.probability > alone.probability
    assert (answer.uncertainty_ms or 0) < (alone.uncertainty_ms or 0)


def test_a_fault_within_a_drift_is_told_apart_from_it():
    frame = np.arange(1500)
    moves = np.linspace(-2, 2, 1500) + np.where((frame >= 600) & (frame < 900), 6.0, 0.0)
    answer = estimate(made(1500, moves, seed=3))
    assert answer.drift_ms_per_min == pytest.approx(-160, rel=0.15)
    (fault,) = [s for s in answer.segments if s.fault]
    assert (fault.start_s, fault.end_s) == pytest.approx((24, 36), abs=2)
    assert only_ms(fault) == pytest.approx(-240, abs=20)


@pytest.mark.parametrize("seconds", [30, 60])
def test_noise_neither_drifts_nor_has_faults(seconds):
    answers = [estimate(made(25 * seconds, height=0, seed=s)) for s in range(8)]
    assert not any(a.drift_ms_per_min for a in answers)
    assert not any(s.fault for a in answers for s in a.segments)


@pytest.mark.slow
def test_a_constant_offset_neither_drifts_nor_has_faults():
    answers = [estimate(made(500, 1.4, height=1.5, seed=s)) for s in range(120)]
    assert not any(a.drift_ms_per_min for a in answers)
    # Evidence as thin as this fakes a fault now and then.
    assert sum(any(s.fault for s in a.segments) for a in answers) <= 2


def test_a_stretch_that_weakly_fits_another_offset_is_a_gap_that_says_so():
    scores = made(750, 0.0, height=4)
    scores.logits[250:500] = made(250, 6.0, height=2.0, seed=5).logits
    answer = estimate(scores, Calibration(change_cost=60.0))
    (gap,) = [s for s in answer.segments if s.offset_ms is None]
    assert gap.start_s < 15 < gap.end_s
    assert gap.hint_ms == pytest.approx(-240, abs=41)


def test_two_hours_at_a_wide_stride_have_no_false_jumps():
    answer = estimate(made(9000, 2.0, height=2, stride=20))
    assert answer.reasons == ()
    assert answer.drift_ms_per_min == 0
    assert len(answer.segments) <= 3
    assert judged_share(answer.segments) > 0.95


@pytest.mark.parametrize("seconds", [0.2, 1.0])
def test_wrong_windows_are_not_a_defect(seconds):
    scores = made(1500, 0.0)
    wrong = slice(700, 700 + int(25 * seconds))
    scores.logits[wrong] = -5
    scores.logits[wrong, 2] = 25
    answer = estimate(scores)
    assert len(answer.segments) == 1
    assert only(answer) == pytest.approx(0, abs=8)


def test_a_stretch_without_evidence_is_a_gap_that_is_not_judged():
    scores = made(1500, 1.0, height=4)
    scores.logits[500:1000] = made(500, height=0, seed=5).logits
    answer = estimate(scores)
    middle = [s for s in answer.segments if s.start_s < 30 < s.end_s]
    assert [s.offset_ms for s in middle] == [None]
    assert judged_share(answer.segments) == pytest.approx(2 / 3, abs=0.17)


def test_time_without_windows_is_a_gap():
    first, second = made(500, 1.0), made(500, 1.0, seed=1, start_s=120.0)
    answer = estimate(combine([first, second]))
    assert any(s.offset_ms is None and s.start_s < 70 < s.end_s for s in answer.segments)
    assert only(answer) == pytest.approx(-40, abs=8)


def test_segments_cover_the_time_without_overlap():
    frame = np.arange(1500)
    answer = estimate(made(1500, np.where(frame < 700, 4.0, 0.0), stride=2, start_s=7.0))
    ends = [(s.start_s, s.end_s) for s in answer.segments]
    assert ends[0][0] == 7.0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
    assert ends[-1][1] == pytest.approx(7.0 + 1499 * 0.08 + 0.2)


def test_a_wide_search_over_a_long_video_takes_a_moment_only():
    answer = estimate(made(2000, 40.0, radius=100, stride=10))
    assert only(answer) == pytest.approx(-1600, abs=8)


# --- Several faces ----------------------------------------------------------------------------


def together(tracks: list[Scores]) -> Offset:
    calibration = Calibration()
    return pooled(tracks, weigh(tracks, cells(tracks, calibration)), calibration)


def test_a_listener_does_not_hide_the_speaker():
    tracks = [made(300, height=0, seed=1), made(300, 2.0, seed=2)]
    answer = together(tracks)
    assert choose_speaker([estimate(track) for track in tracks]) == 1
    assert only(answer) == pytest.approx(-80, abs=8)
    assert answer.probability >= MIN_PROBABILITY


def test_many_short_shots_add_up():
    shots = [made(30, 3.0, height=2.0, seed=s, start_s=4.0 * s) for s in range(25)]
    answer = together(shots)
    assert only(answer) == pytest.approx(-120, abs=12)
    assert answer.probability >= MIN_PROBABILITY
    assert answer.probability > np.median([estimate(shot).probability for shot in shots])


def test_many_listeners_together_are_not_sure_of_anything():
    answers = [together([made(200, height=0, seed=9 * s + i) for i in range(6)]) for s in range(6)]
    assert sum(a.probability >= MIN_PROBABILITY for a in answers) <= 1


def test_a_scene_certain_on_its_own_is_a_fault_however_certain_the_others_are():
    shots = [made(250, 0.0, height=6.0, seed=s, start_s=10.0 * s) for s in range(5)]
    shots[2] = made(250, 6.0, height=3.0, seed=7, start_s=20.0)
    answer = together(shots)
    assert answer.offset_ms == pytest.approx(0, abs=10)
    (fault,) = [segment for segment in answer.segments if segment.fault]
    assert (fault.start_s, fault.end_s) == (20.0, 30.0)
    assert fault.offset_ms == pytest.approx(-240, abs=15)


def test_combining_keeps_the_windows_in_order_of_time():
    both = combine([made(10, start_s=1.0), replace(made(10), track=3)])
    assert both.track == -1
    assert len(both.times_s) == 20
    assert (np.diff(both.times_s) >= 0).all()
    assert combine([made(10), made(5)]).track == 0
    with pytest.raises(ValueError, match="different shifts"):
        combine([made(10), made(10, radius=20)])
    with pytest.raises(ValueError, match="no track"):
        combine([])


def test_no_speaker_where_nothing_was_judged():
    empty = replace(made(4), logits=np.full((4, 31), np.nan, np.float32))
    assert together([empty, empty]).offset_ms is None
    assert choose_speaker([estimate(empty)]) is None
    assert choose_speaker([]) is None


def test_a_measure_without_windows_is_refused():
    scores = made(4)
    with pytest.raises(ValueError, match="no window"):
        measure(evidence(scores, Calibration(), np.zeros(4)), Calibration())


def test_a_constant_offset_between_two_frames_is_not_a_drift_however_long_the_video():
    answer = estimate(made(12_000, -8.5, height=6, seed=2))
    assert answer.drift_ms_per_min == 0
    assert answer.offset_ms == pytest.approx(340, abs=10)


def test_a_shot_of_two_seconds_with_a_clearly_different_offset_is_a_fault():
    sharp = Calibration(temperature=0.6)
    before, after = made(300), made(300, seed=1, start_s=14.0)
    for seed in range(5):
        off = made(50, 6.0, seed=2 + seed, start_s=12.0, silent=0.0)
        tracks = [before, off, after]
        answer = pooled(tracks, [np.ones(len(track.times_s)) for track in tracks], sharp)
        (fault,) = [part for part in answer.segments if part.fault]
        assert fault.offset_ms == pytest.approx(-240, abs=40)
        assert (fault.start_s, fault.end_s) == pytest.approx((12.0, 14.0), abs=0.1)


def test_a_jump_is_placed_on_the_clock_of_the_audio():
    """The audio is 400 ms early from the jump on: windows before it find what fits them on its other side."""
    times, shifts = np.arange(150) / 25, np.arange(-15, 16)
    rng = np.random.default_rng(0)
    errors = []
    for at_s in (2.6, 3.0, 3.4):
        heard = times[:, None] + shifts / 25
        true = np.where(heard < at_s - 0.02, 0, -10)
        rows = np.where(shifts == true, 1.5, -0.5) + rng.normal(0, 0.7, (150, 31))
        found = Evidence(rows, rows.astype(np.float32), times, shifts, np.ones(150))
        placed = place(found, np.arange(20, 130), (15, 5), Calibration(temperature=0.6))
        errors.append(placed.at_s - at_s)
        assert placed.between[0] <= placed.at_s <= placed.between[1]
    assert np.abs(errors).max() <= 0.13


def test_after_a_while_without_a_face_the_offset_changes_where_one_is_seen_again():
    """Which is where the shot begins; else its first windows would be those of the stretch before."""
    answer = together([made(500), made(500, 6.0, seed=1, start_s=45.0)])
    fault, rest = (next(s for s in answer.segments if s.fault is f) for f in (True, False))
    later = max(fault, rest, key=lambda s: s.start_s)
    assert later.start_s == pytest.approx(45.0, abs=0.01)


def test_a_short_shot_beside_one_that_is_slightly_off_keeps_its_own_offset():
    """One step of the path would be in between for both."""
    tracks = [made(60, 0.3, seed=1), made(190, 2.2, seed=2, start_s=2.4), made(1000, seed=3, start_s=10.0)]
    answer = together(tracks)
    fault = next(s for s in answer.segments if s.fault)
    assert (fault.start_s, fault.end_s) == pytest.approx((2.4, 10.0), abs=0.3)
    assert fault.offset_ms == pytest.approx(-88, abs=15)


def shots_that_drift(change: float, own: float) -> Offset:
    """Ten shots of six seconds, whose offset changes by `change` frames in all; every other face is off by
    `own` frames."""
    moves = np.linspace(-change / 2, change / 2, 1500)
    shots = [
        made(150, moves[150 * i : 150 * i + 150] + own * (i % 2 - 0.5), height=2.5, seed=i, start_s=6.0 * i)
        for i in range(10)
    ]
    return pooled(shots, [np.ones(150)] * 10, Calibration(floor_ms=20.0))


def test_faces_that_are_off_by_less_than_a_fault_do_not_hide_a_drift():
    assert shots_that_drift(1.5, 0.4).drift_ms_per_min == pytest.approx(-60, abs=20)


def test_faces_that_are_off_by_less_than_a_fault_are_no_drift():
    assert not shots_that_drift(0.0, 0.8).drift_ms_per_min


def test_a_jump_that_is_not_clear_is_put_where_the_audio_is_interrupted():
    """The second before it says little, so it may have been anywhere in there."""
    frame = np.arange(1000)
    scores = made(1000, np.where(frame < 500, 0.0, 5.0), height=3.0, seed=2)
    scores.logits[475:500] = made(25, height=0, seed=8).logits
    (jump,) = (s.start_s for s in estimate(scores, seams=Seams(breaks=[19.2])).segments if s.start_s > 0)
    assert jump == pytest.approx(19.2, abs=0.05)
    (jump,) = (s.start_s for s in estimate(scores, seams=Seams(breaks=[16.0])).segments if s.start_s > 0)
    assert jump > 18.5  # the evidence is clear that it was not before


def test_a_face_that_differs_by_less_than_a_fault_does_not_make_a_drift_with_one():
    """Late by 150, 200 and 155 ms: one shift is what it takes."""
    shots = [made(280, off, seed=i, start_s=11.2 * i) for i, off in enumerate((3.75, 5.0, 3.9))]
    answer = pooled(shots, [np.ones(280)] * 3, Calibration(floor_ms=20.0))
    assert not answer.drift_ms_per_min
    assert not any(s.fault for s in answer.segments)


def test_scenes_that_are_nearly_alike_share_one_offset_around_a_fault():
    """Which of the three the path returns to is a tie, which noise in the scores would decide."""
    calibration = Calibration(temperature=0.9, floor_ms=20.0)
    for seed in (2, 3, 4, 5, 7):
        fault = made(196, 7.7, height=6.0, seed=seed + 50, silent=0.0, start_s=8.0)
        late = made(272, -0.9, height=2.5, seed=seed + 100, start_s=16.0)
        tracks = [made(196, height=2.5, seed=seed), fault, late]
        answer = pooled(tracks, [np.ones(len(track.times_s)) for track in tracks], calibration)
        first, last = answer.segments[0].offset_ms, answer.segments[-1].offset_ms
        assert first is not None
        assert first == last
        assert [part.offset_ms for part in answer.segments if part.fault] == [pytest.approx(-308, abs=5)]


def test_the_interval_of_a_jump_is_as_wide_as_what_the_windows_leave_open():
    """The mouth is still from 10 to 12 s, in which the audio jumps: where, cannot be told."""
    quiet = np.where((np.arange(500) < 250) | (np.arange(500) >= 300), 1.0, 0.0)[:, None]
    jumping = made(500, np.where(np.arange(500) < 275, 0.0, 6.0), height=6.0, silent=0.0)
    scores = replace(jumping, logits=np.where(quiet > 0, jumping.logits, 0.0).astype(np.float32))
    (fault,) = [part for part in estimate(scores).segments if part.start_between_s]
    assert fault.start_between_s is not None
    first, past = fault.start_between_s
    assert first < 10.6
    assert past > 11.4
    assert 9.5 < first <= fault.start_s <= past < 12.5
    sharp = [part.start_between_s for part in estimate(jumping).segments if part.start_between_s]
    assert [past - first < 0.8 for first, past in sharp] == [True]


def test_a_fault_ends_where_it_was_last_seen_if_nobody_is_seen_afterwards():
    """A scene that is late, ten seconds without a face, and a speaker in sync."""
    seen = (np.arange(1000) < 450) | (np.arange(1000) >= 700)
    whole = made(1000, np.where((np.arange(1000) >= 300) & (np.arange(1000) < 600), 6.0, 0.0), height=6.0)
    scores = replace(whole, times_s=whole.times_s[seen], logits=whole.logits[seen])
    (fault,) = [part for part in estimate(scores, cuts=[12.0, 28.0]).segments if part.fault]
    assert (fault.start_s, fault.end_s) == (pytest.approx(12.0, abs=0.1), pytest.approx(18.2, abs=0.1))
    assert fault.end_between_s == (fault.end_s, pytest.approx(28.0))


def test_a_pause_of_the_speech_is_a_likelier_place_for_a_jump_than_speech_that_tells_as_little():
    jumping = made(500, np.where(np.arange(500) < 275, 0.0, 6.0), height=6.0, silent=0.0)
    still = (np.arange(500) >= 240) & (np.arange(500) < 310)
    scores = replace(jumping, logits=np.where(still[:, None], 0.0, jumping.logits).astype(np.float32))
    for pause in ((9.8, 10.2), (11.6, 12.0)):
        placed = estimate(scores, seams=Seams(pauses=[pause])).segments[-1].start_s
        apart = estimate(scores).segments[-1].start_s
        assert abs(placed - sum(pause) / 2) < abs(apart - sum(pause) / 2)


def test_an_offset_at_the_edge_of_the_search_is_no_fault():
    edge = made(200, 15.0, height=6.0, seed=1, silent=0.0, start_s=12.0)
    answer = together([made(300), edge, made(300, seed=2, start_s=20.0)])
    assert not any(part.fault for part in answer.segments)
