"""On the site, links from a page to other files of the repository become links to its address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Files"]
OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Raises FileNotFoundError where such a file does not exist."""

    def address(link: re.Match[str]) -> str:
        if not (ROOT / link[1]).exists():
            raise FileNotFoundError(
                f"{page.file.src_path} links to {link[1]}, which is not in the repository"
            )
        return f"]({FILES}/{link[1]}{link[2] or ''})"

    return OUTSIDE.sub(address, markdown)
