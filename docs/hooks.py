"""On the site, a link from a page to a file outside `docs` becomes its text and the path of the file: the
repository has no public address that it could lead to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Raises FileNotFoundError where such a file does not exist."""

    def named(link: re.Match[str]) -> str:
        text, path = link.groups()
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{page.file.src_path} links to {path}, which is not in the repository")
        return text if path in text else f"{text} (`{path}`)"

    return OUTSIDE.sub(named, markdown)
