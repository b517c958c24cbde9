"""Copies the pages of the repository to the folder that the site is built from."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from generated import GENERATED

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "site"
FOLDER = BUILD / "pages"
DISTRIBUTIONS = "    # The README of each distribution follows.\n"
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", flags=re.MULTILINE)
INCLUDED = re.compile(r'^--8<-- "(examples/\w+\.py)"$', flags=re.MULTILINE)
PICTURE = re.compile(r"^!\[([^\]]*)\]\(([^)\s]+\.svg)\)$", flags=re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)


def pages() -> dict[str, Path]:
    """Maps the path of each page in the site to its file in the repository."""
    found = {path.relative_to(ROOT / "docs").as_posix(): path for path in sorted((ROOT / "docs").rglob("*.md"))}
    for pattern in ("registry", "plugins/*", "adapters/*"):
        found |= {f"plugins/{path.parent.name}.md": path for path in sorted(ROOT.glob(f"{pattern}/README.md"))}
    others = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md", "findings": "findings/README.md"}
    return found | {f"{name}.md": ROOT / path for name, path in others.items()}


def config() -> str:
    """Returns the configuration of the site, with the pages of all distributions in its navigation."""
    text = (ROOT / "docs" / "site" / "zensical.toml").read_text(encoding="utf-8")
    names = [Path(name).stem for name in pages() if name.startswith("plugins/")]
    titles = {"registry": "vertebra"}
    rows = "".join(f'    {{ "{titles.get(name, f"vertebra-{name}")}" = "plugins/{name}.md" }},\n' for name in names)
    return text.replace(DISTRIBUTIONS, rows).replace("@ROOT@", ROOT.as_posix())


def stage() -> None:
    """Writes all pages and files of the site, with the generated parts in them."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, source in pages().items():
        target = FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rendered(name, source), encoding="utf-8")
    for pattern in ("examples/*.py", "site/*.css", "benchmarks/*.json"):
        for source in (ROOT / "docs").glob(pattern):
            target = FOLDER / source.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def rendered(name: str, source: Path) -> str:
    """Returns the text of a page as the site has it.

    Generated parts are filled in, pictures are part of the page, so that their colours follow its mode, and links lead
    to pages of the site. A link to a file that the site does not have becomes its text.
    """
    text = MARKER.sub(lambda match: GENERATED[match[1]](), source.read_text(encoding="utf-8"))
    text = INCLUDED.sub(lambda match: _example(match[1]), text)
    text = PICTURE.sub(lambda match: _picture(source.parent / match[2], match[1]), text)
    return _outside_code(text, lambda part: LINK.sub(lambda match: _link(match, name, source), part))


def _example(name: str) -> str:
    """Returns the code of an example, without comments for the linter."""
    lines = (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(re.sub(r"  # noqa: .*", "", line) for line in lines if not line.startswith("# ruff:"))


def _picture(path: Path, title: str) -> str:
    """Returns a picture as a part of the page; if it has a form for phones, `NAME-narrow.svg`, both of them."""
    narrow = path.with_name(f"{path.stem}-narrow.svg")
    if not narrow.exists():
        return _drawn(path, title, "picture")
    return _drawn(path, title, "picture picture-wide") + _drawn(narrow, title, "picture picture-narrow")


def _drawn(path: Path, title: str, classes: str) -> str:
    svg = path.read_text(encoding="utf-8").replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    return f'<div class="{classes}">{" ".join(svg.split())}</div>'


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for match in FENCE.finditer(text):
        parts += [change(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, change(text[end:])])


def _link(match: re.Match[str], name: str, source: Path) -> str:
    target = Path(os.path.normpath(source.parent / match[3]))
    staged = {path: page for page, path in pages().items()}.get(target)
    if staged is None and target.is_relative_to(ROOT / "docs") and target.is_file():
        staged = target.relative_to(ROOT / "docs").as_posix()
    if staged is None:
        if os.path.normpath(Path(name).parent / match[3]) in pages():  # in a generated part
            return match[0]
        if not target.exists():
            raise SystemExit(f"{source}: the link to {match[3]} leads nowhere")
        return match[2]
    return f"{match[1]}[{match[2]}]({os.path.relpath(staged, Path(name).parent)}{match[4] or ''})"
