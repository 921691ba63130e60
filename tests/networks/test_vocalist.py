"""The network matches the public VocaLiST and MTDVocaLiST checkpoints: keys, sizes and every number."""

import numpy as np
import pytest
import seeded
import torch
from seeded import REFERENCE

from avsync.networks.attention import Maps
from avsync.networks.base import count_parameters
from avsync.networks.dims import STUDENT, TEACHER, Dims
from avsync.networks.frontends import AUDIO_CONTEXT, DILATIONS
from avsync.networks.vocalist import VocaLiST

FILES = {
    "student": (STUDENT, "mtdvocalist_student_state_dict.json", 13_280_961),
    "teacher": (TEACHER, "vocalist_teacher_state_dict.json", 80_106_561),
}
TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2)


@pytest.mark.parametrize("name", FILES)
def test_keys_shapes_and_size_are_the_public_ones(name: str) -> None:
    dims, file, size = FILES[name]
    with torch.device("meta"):
        model = VocaLiST(dims)
    listed = seeded.public_shapes(file)
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == listed
    assert count_parameters(model) == size


@pytest.mark.parametrize("name", FILES)
def test_tokens_maps_and_logits_meet_the_reference(name: str) -> None:
    model = VocaLiST(FILES[name][0]).eval()
    model.load_state_dict(seeded.state_dict(model.state_dict()))
    want = np.load(REFERENCE / "parity_seed11.npz")
    frames, mels = torch.from_numpy(seeded.frames(4)), torch.from_numpy(seeded.mels(4))
    maps: Maps = []
    with torch.no_grad():
        visual, audio = model.visual_tokens(frames), model.audio_tokens(mels)
        av, va = model.av_transformer(audio, visual), model.va_transformer(visual, audio)
        got = {"visual_tokens": visual, "audio_tokens": audio, "av_output": av, "va_output": va}
        got["fusion_output"] = model.fuse(av, va)
        got["logits"] = model(frames, mels, maps)
    for entry in maps:
        got[f"{entry.name}_cad"] = entry.logits.softmax(-1)
        relation = entry.values @ entry.values.transpose(-2, -1) / entry.values.shape[-1] ** 0.5
        got[f"{entry.name}_vr"] = relation.softmax(-1)
    assert {f"{name}/{key}" for key in got} == {key for key in want.files if key.startswith(name)}
    for key, value in got.items():
        reference = want[f"{name}/{key}"]
        error = np.abs(value.numpy() - reference).max() / np.abs(reference).max()
        assert error < 1e-4, f"{key}: relative error {error:.2g}"


def test_frame_shared_front_end_encodes_each_frame_once() -> None:
    model = VocaLiST(TINY).eval()
    video = torch.rand(8, 3, 48, 96)
    with torch.no_grad():
        shared_tokens = model.frame_tokens(video)
        windows = torch.stack([video[t : t + 5].flatten(0, 1) for t in range(4)])
        direct = model.visual_tokens(windows)
        reused = model.mix_window(torch.stack([shared_tokens[t : t + 5] for t in range(4)]))
    torch.testing.assert_close(reused, direct, rtol=1e-4, atol=1e-5)


def test_a_window_depends_on_audio_within_its_reach_only() -> None:
    model = VocaLiST(Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, (16, 16), 8, "column1d")).eval()
    reach = 2 + 2 * sum(DILATIONS)
    audio = torch.rand(1, 80, 200)
    with torch.no_grad():
        whole = model.column_tokens(audio)[:, 92:108]
        torch.testing.assert_close(
            model.audio_tokens(audio[:, None, :, 92 - AUDIO_CONTEXT : 108 + AUDIO_CONTEXT]), whole
        )
        for column, heard in ((92 - reach - 1, False), (92 - reach, True), (107 + reach, True)):
            other = audio.clone()
            other[:, :, column] += 1
            assert torch.equal(model.column_tokens(other)[:, 92:108], whole) != heard


@pytest.mark.parametrize(
    ("more", "columns", "frames"),
    [({}, 13, 4), ({"wide_context": True}, 26, 8), ({"wide_context": True, "deep_audio": True}, 33, 8)],
)
def test_context_reaches_160_ms_or_320_beyond_a_window_and_in_deep_audio_410(
    more: dict[str, bool], columns: int, frames: int
) -> None:
    torch.manual_seed(0)
    shape = ("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d")
    model = VocaLiST(Dims(*shape, frame_context=True, **more)).eval()
    assert (model.audio_context, model.frame_context) == (columns, frames)
    for part in (model.vid_context, model.aud_context):
        for parameter in part.mix.parameters() if part is not None else ():
            torch.nn.init.normal_(parameter)
    mels, shown = torch.rand(1, 80, 100), torch.rand(1, 40, 16)
    with torch.no_grad():
        heard, seen = model.column_tokens(mels)[:, 40:56], model.in_context(shown)[:, 20:25]
        for column, reached in _either_side_of(40 - columns, 55 + columns):
            other = mels.clone()
            other[:, :, column] += 1
            assert torch.equal(model.column_tokens(other)[:, 40:56], heard) != reached
        for frame, reached in _either_side_of(20 - frames, 24 + frames):
            other = shown.clone()
            other[:, frame] += 1
            assert torch.equal(model.in_context(other)[:, 20:25], seen) != reached


def _either_side_of(first: int, last: int) -> list[tuple[int, bool]]:
    """The places at both ends of a reach that are just outside (False) and just inside (True)."""
    return [(first - 1, False), (first, True), (last, True), (last + 1, False)]


@pytest.mark.parametrize(
    ("more", "new"),
    [
        ({}, {"vid_context"}),
        ({"wide_context": True}, {"vid_context", "aud_context"}),
        ({"wide_context": True, "deep_audio": True}, {"vid_context", "aud_context"}),
    ],
)
def test_a_new_network_with_context_starts_as_the_one_without(more: dict[str, bool], new: set[str]) -> None:
    """So training goes on from a checkpoint that sees single windows."""
    shape = ("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d")
    model = VocaLiST(Dims(*shape, frame_context=True, **more)).eval()
    plain = VocaLiST(Dims(*shape)).eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == new
    frames, mels = torch.rand(2, 15, 48, 96), torch.rand(2, 80, 60)
    with torch.no_grad():
        torch.testing.assert_close(model.visual_tokens(frames), plain.visual_tokens(frames))
        torch.testing.assert_close(model.column_tokens(mels), plain.column_tokens(mels))


def test_a_wide_context_goes_on_from_the_narrow_one() -> None:
    shape = ("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d")
    wide = VocaLiST(Dims(*shape, frame_context=True, wide_context=True)).eval()
    narrow = VocaLiST(Dims(*shape, frame_context=True)).eval()
    assert narrow.vid_context is not None
    for parameter in narrow.vid_context.mix.parameters():
        torch.nn.init.normal_(parameter)
    wide.load_state_dict(narrow.state_dict(), strict=False)
    frames = torch.rand(1, 40, 16)
    with torch.no_grad():
        torch.testing.assert_close(wide.in_context(frames), narrow.in_context(frames))


def test_nothing_is_kept_of_the_attention_unless_asked() -> None:
    model = VocaLiST(TINY)
    maps: Maps = []
    frames, mels = torch.rand(2, 15, 48, 96), torch.rand(2, 1, 80, 16)
    assert model(frames, mels).shape == (2,)
    model(frames, mels, maps)
    assert [m.name for m in maps] == ["av1", "av2", "va1", "va2", "fusion1", "fusion2"]


def test_dims_survive_yaml_and_refuse_what_cannot_be_built() -> None:
    assert Dims.from_dict(TINY.to_dict()) == TINY
    with pytest.raises(ValueError, match="d_model"):
        Dims(channels=(16, 32, 64, 128, 256))
    with pytest.raises(ValueError, match="wide_context"):
        Dims(wide_context=True)
    with pytest.raises(ValueError, match="deep_audio"):
        Dims(deep_audio=True)
    with pytest.raises(ValueError, match="heads"):
        Dims(channels=(1, 2, 3, 4, 20), d_model=20, heads=8)
    with pytest.raises(ValueError, match="column1d two"):
        Dims(audio_front_end="column1d")
    with pytest.raises(ValueError, match="front-ends"):
        Dims(audio_front_end="wave")  # type: ignore[arg-type]


def test_without_layers_the_similarity_of_the_embeddings_is_the_logit() -> None:
    dims = Dims("frame2d", (8, 8, 8, 8, 16), 16, 8, layers=0, contrast=12)
    model = VocaLiST(dims).eval()
    assert not any("transformer" in key or "classifier" in key for key in model.state_dict())
    frames, mels = torch.rand(3, 15, 48, 96), torch.rand(3, 1, 80, 16)
    head = model.contrast
    assert head is not None
    seen = head.embed_visual(model.visual_tokens(frames))
    heard = head.embed_audio(model.audio_tokens(mels))
    torch.testing.assert_close(model(frames, mels), (seen * heard).sum(-1))
    with pytest.raises(ValueError, match="contrast"):
        Dims(layers=0)
