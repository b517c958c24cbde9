"""The pages of the documentation, and the code in them."""

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```python\n(.+?)```", flags=re.DOTALL)


def page(name: str) -> str:
    """Returns the text of a page, by its path below `docs`, such as `concepts/lora.md`."""
    return (DOCS / name).read_text(encoding="utf-8")


def pages() -> dict[str, str]:
    """Returns every page, by its path below `docs`."""
    return {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}


def code(name: str) -> list[str]:
    """Returns the blocks of Python of a page, those of tabs, too."""
    fences = re.findall(r"^( *)```python\n(.+?)^ *```$", page(name), flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in fences]


def files(name: str) -> dict[str, str]:
    """Returns the files of a page: the blocks that follow a line with a path in backquotes, by this path."""
    found = re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.+?)^```$", page(name), flags=re.MULTILINE | re.DOTALL)
    return dict(found)
