"""avsync tells whether the lips in a video match its speech, by how many milliseconds they are
apart, and repairs it."""

__version__ = "0.1.0"
