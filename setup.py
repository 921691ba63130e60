"""The README as a package index shows it: of links to files of the repository, which lead nowhere there,
only the text stays."""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
RELATIVE = r"\((?![a-z]+:|#)[^)]*\)"

without_images = re.sub(rf"!\[[^]]*\]{RELATIVE}\n+", "", README)
setup(
    long_description=re.sub(rf"\[([^]]*)\]{RELATIVE}", r"\1", without_images),
    long_description_content_type="text/markdown",
)
