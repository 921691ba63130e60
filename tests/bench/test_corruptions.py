"""Clips are spoilt as real videos are: few pixels, a mask before the mouth, a whisper."""

import numpy as np
import pytest

from avsync.bench.corruptions import lowres, mask, parse_spoils, whisper
from avsync.core.constants import SAMPLE_RATE
from avsync.core.errors import UsageError


def pictures(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, 48, 96, 3), np.uint8)


def spoken(pitch_hz: float = 120.0) -> np.ndarray:
    """A second of a buzzing voice with a resonance near 1 kHz, then half a second of silence."""
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    overtones = np.arange(1, 40)
    strength = 1 / (1 + ((overtones * pitch_hz - 1000) / 200) ** 2)
    voice = (strength[:, None] * np.sin(2 * np.pi * pitch_hz * overtones[:, None] * t)).sum(0)
    return np.concatenate([0.2 * voice / np.abs(voice).max(), np.zeros(SAMPLE_RATE // 2)]).astype(np.float32)


def test_a_list_names_what_is_done_in_turn() -> None:
    low, masked, whispered = parse_spoils("lowres:24, mask,whisper")
    assert [low.name, masked.name, whispered.name] == ["lowres:24", "mask", "whisper"]
    seen, heard = pictures(), spoken()
    np.testing.assert_array_equal(low.picture(seen), lowres(seen, 24))
    np.testing.assert_array_equal(masked.picture(seen), mask(seen))
    np.testing.assert_array_equal(whispered.sound(heard), whisper(heard))
    assert masked.sound(heard) is heard and whispered.picture(seen) is seen
    assert parse_spoils("") == ()


@pytest.mark.parametrize("wrong", ["beard", "lowres", "lowres:1", "lowres:97", "lowres:x", "mask:3"])
def test_what_cannot_be_done_is_told(wrong: str) -> None:
    with pytest.raises(UsageError, match="choose from lowres:WIDTH"):
        parse_spoils(wrong)


def test_few_pixels_leave_the_size_and_what_is_coarse() -> None:
    coarse = np.repeat(np.repeat(pictures()[:, :6, :12], 8, 1), 8, 2)
    found = lowres(coarse, 12)
    assert found.shape == coarse.shape and found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 4::8, 4::8].shape, (3, 6, 12, 3))
    assert np.abs(found[:, 4::8, 4::8].astype(int) - coarse[:, 4::8, 4::8]).mean() < 12
    assert lowres(pictures(), 8).std() < 0.3 * pictures().std()
    np.testing.assert_array_equal(lowres(pictures(), 96), pictures())


def test_behind_a_mask_nothing_of_the_mouth_is_left() -> None:
    first, second = mask(pictures(0)), mask(pictures(1))
    same = (first == first[:1]).all((0, 3))
    assert same[8:46, 30:66].all(), "every frame shows the same cloth"
    assert not same[:, :8].any(axis=0).all(), "the cheeks beside it stay"
    assert np.abs(first[:, 8:46, 30:66].astype(int) - second[:, 8:46, 30:66]).max() < 5


def test_a_mask_is_no_brighter_than_its_clip() -> None:
    assert mask(pictures() // 8)[:, 10:40, 30:66].mean() < 0.2 * mask(pictures())[:, 10:40, 30:66].mean()


def test_a_whisper_has_the_words_and_not_the_voice() -> None:
    voice = spoken()
    whispered = whisper(voice)
    assert len(whispered) == len(voice) and whispered.dtype == np.float32
    assert np.sqrt(np.mean(whispered**2)) == pytest.approx(np.sqrt(np.mean(voice**2)), rel=0.05)
    assert np.abs(whispered[-SAMPLE_RATE // 3 :]).max() < 0.01 * np.abs(whispered).max(), (
        "silence stays silent"
    )

    def regular(sound: np.ndarray) -> float:
        """How alike the sound is to itself a pitch period later."""
        piece, later = sound[4000:8000], sound[4000 + 133 : 8000 + 133]
        return float(np.corrcoef(piece, later)[0, 1])

    assert regular(voice) > 0.8
    assert abs(regular(whispered)) < 0.3
    power = np.abs(np.fft.rfft(whispered[:SAMPLE_RATE])) ** 2
    assert power[800:1200].mean() > 5 * power[3000:3400].mean(), "the resonance of the mouth stays"


def test_a_whisper_of_silence_is_silence_and_the_same_each_time() -> None:
    assert not whisper(np.zeros(3000, np.float32)).any()
    np.testing.assert_array_equal(whisper(spoken()), whisper(spoken()))
