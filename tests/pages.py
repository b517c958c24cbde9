"""The pages of the documentation, and the code in them."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```python\n(.+?)```", flags=re.DOTALL)


def page(name: str) -> str:
    """Returns the text of a page, by its path below `docs`, such as `concepts/lora.md`."""
    return (DOCS / name).read_text(encoding="utf-8")


def pages() -> dict[str, str]:
    """Returns every page, by its path below `docs`."""
    return {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
