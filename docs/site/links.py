"""Checks the built site: every link and anchor leads somewhere, and no page loads a file of another server."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

LOADED = {
    "link": "href",
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "audio": "src",
    "video": "src",
}
METADATA = {"canonical", "next", "prev"}


class _Page(HTMLParser):
    """Collects the anchors, links and loaded files of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADED and values.get(LOADED[tag]) and values.get("rel") not in METADATA:
            self.loaded.append(values[LOADED[tag]])


def check_rendered(folder: Path) -> list[str]:
    """Returns the problems of the pages in a folder of HTML files."""
    pages = {path: _parsed(path) for path in sorted(folder.rglob("*.html"))}
    return [problem for path in pages for problem in _problems(folder, path, pages)]


def _parsed(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _problems(folder: Path, path: Path, pages: dict[Path, _Page]) -> Iterator[str]:
    name = path.relative_to(folder).as_posix()
    for link in pages[path].loaded:
        if urlsplit(link).netloc:
            yield f"{name} loads {link} from another server"
    if name == "404.html":  # its links are absolute
        return
    for link in [*pages[path].links, *pages[path].loaded]:
        if urlsplit(link).scheme or urlsplit(link).netloc:
            continue
        location, anchor = urldefrag(urljoin(f"/{name}", link))
        target = folder / unquote(location).lstrip("/")
        target = target / "index.html" if target.is_dir() or location.endswith("/") else target
        if not target.is_file():
            yield f"{name} links to {link}, which does not exist"
        elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
            yield f"{name} links to {link}, an anchor that does not exist"
