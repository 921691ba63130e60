"""The shape of a network of the VocaLiST family: widths, layers, kinds of front-end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Dims:
    """Everything that fixes the shape of a network.

    `front_end` is "clip3d" (the paper's 3-D convolutions over five frames) or "frame2d" (2-D
    convolutions over each frame, shared by all windows that contain it). `channels` are the five
    widths of the visual front-end. `audio_front_end` is "window2d" (the paper's 2-D convolutions over the
    sixteen columns of a window; `audio_channels` are its five widths, None: those of `channels`),
    "column2d" (the same convolutions once along the whole mel spectrogram, shared by all windows, which also
    cover 13 columns, 160 ms, before and after themselves) or "column1d" (1-D convolutions along the whole
    audio, shared by all windows, which also cover half a second before and after themselves; `audio_channels`
    are its inner width and `d_model`). The last width of each must be `d_model`. With `frame_context`
    ("frame2d" only) the tokens of a window also see the four frames, 160 ms, before and after it; with
    `wide_context` besides ("column2d" only) twice as far, in frames and in audio; with `deep_audio` besides,
    in audio 90 ms further, by three more convolutions. With `speech` (no encoder layers) the audio embedding
    also stands on the features of a speech recogniser (`audio.speech`), two a frame. `contrast` is the width
    of the contrastive embeddings whose similarity is added to the logit (0: none, as in the paper). With
    `layers` 0 there are no cross-modal encoders: the similarity of the embeddings is the logit, for the price
    of a dot product a pair.
    """

    front_end: Literal["clip3d", "frame2d"] = "clip3d"
    channels: tuple[int, ...] = (16, 32, 64, 128, 200)
    d_model: int = 200
    heads: int = 8
    layers: int = 4
    audio_channels: tuple[int, ...] | None = None
    contrast: int = 0
    audio_front_end: Literal["window2d", "column1d", "column2d"] = "window2d"
    frame_context: bool = False
    wide_context: bool = False
    deep_audio: bool = False
    speech: bool = False

    def __post_init__(self) -> None:
        kinds = (self.front_end, self.audio_front_end)
        if kinds[0] not in ("clip3d", "frame2d") or kinds[1] not in ("window2d", "column1d", "column2d"):
            raise ValueError(f"there are no front-ends {' and '.join(map(str, kinds))}")
        audio = self.audio_channels or self.channels
        if len(self.channels) != 5 or len(audio) != (2 if self.audio_front_end == "column1d" else 5):
            raise ValueError(f"front-ends have five widths (column1d two), got {self.channels} and {audio}")
        if self.channels[-1] != self.d_model or audio[-1] != self.d_model:
            raise ValueError(f"the last front-end width must be d_model = {self.d_model}")
        if self.d_model % self.heads or self.d_model % 2:
            raise ValueError(f"d_model = {self.d_model} must be even and a multiple of heads = {self.heads}")
        if self.frame_context and self.front_end != "frame2d":
            raise ValueError("frame_context needs the frame-shared front-end frame2d")
        if self.wide_context and not (self.frame_context and self.audio_front_end == "column2d"):
            raise ValueError("wide_context widens that of frame_context and of the audio front-end column2d")
        if self.deep_audio and not self.wide_context:
            raise ValueError("deep_audio goes on from wide_context")
        if not self.layers and not self.contrast:
            raise ValueError("a network without encoder layers needs contrastive embeddings (contrast > 0)")
        if self.speech and self.layers:
            raise ValueError("speech features are for networks without encoder layers")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Dims:
        """Dims from plain YAML or JSON values; raises TypeError on unknown keys."""
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list | tuple)}
        return cls(**{**values, **lists})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


STUDENT = Dims()
"""MTDVocaLiST's student: 13,280,961 trainable parameters."""
TEACHER = Dims(channels=(32, 64, 128, 256, 512), d_model=512)
"""VocaLiST: 80,106,561 trainable parameters."""
