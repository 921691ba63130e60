"""Corruptions do what their names say: low resolution, a face mask, whispering."""

import numpy as np
import pytest

from avsync.bench.corruptions import lowres, mask, parse_corruptions, whisper
from avsync.core.constants import SAMPLE_RATE
from avsync.core.errors import UsageError


def mouth_crops(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, 48, 96, 3), np.uint8)


def spoken(pitch_hz: float = 120.0) -> np.ndarray:
    """A second of a buzzing voice with a resonance near 1 kHz, then half a second of silence."""
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    overtones = np.arange(1, 40)
    strength = 1 / (1 + ((overtones * pitch_hz - 1000) / 200) ** 2)
    voice = (strength[:, None] * np.sin(2 * np.pi * pitch_hz * overtones[:, None] * t)).sum(0)
    return np.concatenate([0.2 * voice / np.abs(voice).max(), np.zeros(SAMPLE_RATE // 2)]).astype(np.float32)


def test_a_list_names_what_is_done_in_turn() -> None:
    low, masked, whispered = parse_corruptions("lowres:24, mask,whisper")
    assert [low.name, masked.name, whispered.name] == ["lowres:24", "mask", "whisper"]
    frames, audio = mouth_crops(), spoken()
    np.testing.assert_array_equal(low.frames(frames), lowres(frames, 24))
    np.testing.assert_array_equal(masked.frames(frames), mask(frames))
    np.testing.assert_array_equal(whispered.audio(audio), whisper(audio))
    assert masked.audio(audio) is audio and whispered.frames(frames) is frames
    assert parse_corruptions("") == ()


@pytest.mark.parametrize("wrong", ["beard", "lowres", "lowres:1", "lowres:97", "lowres:x", "mask:3"])
def test_an_unknown_corruption_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="choose from lowres:WIDTH"):
        parse_corruptions(wrong)


def test_few_pixels_leave_the_size_and_what_is_coarse() -> None:
    coarse = np.repeat(np.repeat(mouth_crops()[:, :6, :12], 8, 1), 8, 2)
    found = lowres(coarse, 12)
    assert found.shape == coarse.shape and found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 4::8, 4::8].shape, (3, 6, 12, 3))
    assert np.abs(found[:, 4::8, 4::8].astype(int) - coarse[:, 4::8, 4::8]).mean() < 12
    assert lowres(mouth_crops(), 8).std() < 0.3 * mouth_crops().std()
    np.testing.assert_array_equal(lowres(mouth_crops(), 96), mouth_crops())


def test_behind_a_mask_nothing_of_the_mouth_is_left() -> None:
    first, second = mask(mouth_crops(0)), mask(mouth_crops(1))
    same = (first == first[:1]).all((0, 3))
    assert same[8:46, 30:66].all(), "every frame shows the same cloth"
    assert not same[:, :8].any(axis=0).all(), "the cheeks beside it stay"
    assert np.abs(first[:, 8:46, 30:66].astype(int) - second[:, 8:46, 30:66]).max() < 5


def test_a_mask_is_not_brighter_than_its_clip() -> None:
    assert (
        mask(mouth_crops() // 8)[:, 10:40, 30:66].mean() < 0.2 * mask(mouth_crops())[:, 10:40, 30:66].mean()
    )


def test_a_whisper_has_the_words_and_not_the_voice() -> None:
    voice = spoken()
    whispered = whisper(voice)
    assert len(whispered) == len(voice) and whispered.dtype == np.float32
    assert np.sqrt(np.mean(whispered**2)) == pytest.approx(np.sqrt(np.mean(voice**2)), rel=0.05)
    assert np.abs(whispered[-SAMPLE_RATE // 3 :]).max() < 0.01 * np.abs(whispered).max(), (
        "silence stays silent"
    )

    def regular(audio: np.ndarray) -> float:
        """How alike the audio is to itself a pitch period later."""
        piece, later = audio[4000:8000], audio[4000 + 133 : 8000 + 133]
        return float(np.corrcoef(piece, later)[0, 1])

    assert regular(voice) > 0.8
    assert abs(regular(whispered)) < 0.3
    power = np.abs(np.fft.rfft(whispered[:SAMPLE_RATE])) ** 2
    assert power[800:1200].mean() > 5 * power[3000:3400].mean(), "the resonance of the mouth stays"


def test_a_whisper_of_silence_is_silence_and_the_same_each_time() -> None:
    assert not whisper(np.zeros(3000, np.float32)).any()
    np.testing.assert_array_equal(whisper(spoken()), whisper(spoken()))
