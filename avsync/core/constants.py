"""Constants with their units, and the names that options accept."""

from __future__ import annotations

from typing import Literal, get_args

# --- The clock of the models -------------------------------------------------------------
FRAME_RATE = 25
"""Video frames per second that every model expects."""
FRAME_S = 1 / FRAME_RATE
FRAME_MS = 1000 / FRAME_RATE
WINDOW_FRAMES = 5
"""Video frames in one model window (0.2 s)."""
PROTOCOL_RADIUS = 15
"""Candidates either side in the published protocol: 31 offsets, -15..+15 frames."""

# --- Files -------------------------------------------------------------------------------
VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gxf", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv"),
)
"""What counts as a video inside a folder; a file that is named outright may have any suffix."""

# --- Audio -------------------------------------------------------------------------------
SAMPLE_RATE = 16_000
"""Hz, mono."""
FFT_SAMPLES = 800
HOP_SAMPLES = 200
MEL_BANDS = 80
MEL_MIN_HZ = 55.0
MEL_MAX_HZ = 7600.0
MEL_RATE = SAMPLE_RATE // HOP_SAMPLES
"""Mel columns per second."""
WINDOW_MELS = 16
"""Mel columns in one model window (0.2 s)."""

# --- Video -------------------------------------------------------------------------------
FACE_SIZE = 96
"""A face box is resized to FACE_SIZE x FACE_SIZE; its lower half is the model input."""
MOUTH_HEIGHT = 48
WHOLE_FACE_SIZE = 224
"""Width and height in pixels of the crops for networks that look at whole faces."""
CropKind = Literal["mouth", "face"]
DETECT_LONG_SIDE = 320
"""Pixels on the long side of the frame that the face detector sees."""
DETECT_EVERY = 5
"""Frames (of 25 a second) from one face detection to the next."""
STORED_LONG_SIDE = 1920
"""Pixels on the long side of the frames that a check cuts crops from; larger video is scaled down."""
DECODE_LONG_SIDE = 1280
"""Pixels on the long side of the frames that training data are prepared from."""

# --- Decisions ---------------------------------------------------------------------------
MAX_OFFSET_MS = 600.0
DEFAULT_MODEL = "avsync-4"
MIN_PROBABILITY = 0.75
"""Below this probability that the offset is within one frame, `check` answers "cannot tell"."""

MIN_JUDGED = 0.5
"""Of the speech over visible talking faces, the share that must have been judged for "in sync"."""

MAX_DRIFT_MS_PER_MIN = 20.0
"""Largest drift in tolerance: in two minutes it uses up what EBU R37 allows early audio."""

SPEECH_PROBABILITY = 0.5
"""A moment at or above this probability counts as speech."""
MIN_SPEECH_S = 0.5
"""A file with less speech than this counts as having none."""

Standard = Literal["ebu", "itu", "itu-acceptable", "atsc", "netflix"]
Detector = Literal["centerface", "sfd", "yunet", "retinaface", "scrfd", "blazeface"]
Device = Literal["auto", "cpu", "cuda"]
Method = Literal["copy", "retime"]
"""How `fix-offset` repairs."""
Sample = Literal["auto", "adaptive", "exhaustive"]
"""How much of a long video is scored: as much as a certain answer needs, or all of it; "auto" is adaptive on
a CPU."""
Precision = Literal["auto", "float32"]
"""Precision of the network on a CPU: "auto" is 8-bit integers in the front-end of the lips where the model is
compiled, and else bfloat16 in the front-ends where the CPU supports it; "float32" is PyTorch's."""
Hwaccel = Literal[
    "off", "auto", "cuda", "vaapi", "qsv", "amf", "videotoolbox", "d3d11va", "d3d12va", "vulkan"
]
"""Kinds of devices that may decode the video, as FFmpeg names them; "auto" is the first that can."""
Engine = Literal["local", "ray"]
"""Where the files of a batch are checked: in processes of this machine, or on a Ray cluster."""

Mask = Literal["both", "one-sided"]
"""Which candidates outside a clip count as missing in the published evaluation: all of them, or those on one
side only, as the authors' code has it (`evaluation.protocol.missing`)."""

STANDARDS: tuple[Standard, ...] = get_args(Standard)
DETECTORS: tuple[Detector, ...] = get_args(Detector)

TOLERANCES_MS: dict[str, tuple[float, float]] = {
    "ebu": (40.0, 60.0),
    "itu": (45.0, 125.0),
    "itu-acceptable": (90.0, 185.0),
    "atsc": (15.0, 45.0),
}
"""Largest error still in tolerance, ms: (audio early, audio late). `netflix` is one frame of the
video at hand either way, so it is computed from the frame rate."""

STANDARD_NAMES: dict[str, str] = {
    "ebu": "EBU R37",
    "itu": "ITU-R BT.1359 (detectable)",
    "itu-acceptable": "ITU-R BT.1359 (acceptable)",
    "atsc": "ATSC IS-191",
    "netflix": "Netflix (one frame)",
    "custom": "a tolerance of its own",
}
