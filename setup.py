"""The README as a package index shows it: relative links lead nowhere there, so they become absolute."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
README = (ROOT / "README.md").read_text(encoding="utf-8")

setup(
    long_description=re.sub(r"\]\((?![a-z]+:|#)", rf"]({URLS['Files']}/", README),
    long_description_content_type="text/markdown",
)
