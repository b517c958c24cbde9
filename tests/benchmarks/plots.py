"""Plots of the results, as SVG: text in the colour of the page, so that they are readable in light and dark."""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import loading
import matplotlib
import starting
import training
from forward import MOST_OF_TRANSFORMERS
from growth import COUNTS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from measure import Row

INK, GREY = "#010203", "#777777"
"""Drawn as the colour of the text around the picture, and that of pages that show a picture by itself."""
COLOURS = {
    "Vertebra, compiled, torch": "#4f6bed",
    "Vertebra, packed, torch": "#d9822b",
    "Vertebra, compiled, jax": "#2e9e6b",
    "torch": "#4f6bed",
    "jax": "#2e9e6b",
}
BAR: dict[str, Any] = {"marker": "|", "linestyle": "none", "color": INK, "markersize": 13, "markeredgewidth": 2}
"""How a bar is drawn: the share that a figure may reach at most."""
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.markersize": 5,
    "legend.frameon": False,
}
Records = Mapping[str, Mapping[str, Any]]
"""The records of the tables by name, as in the file of results."""


def draw_all(records: Records, folder: Path) -> list[Path]:
    """Draws each plot whose results there are, and returns their files.

    The same results give the same files, to the byte, with one version of matplotlib.
    """
    return [path for name in PLOTS if (path := draw(name, records, folder))]


def draw(name: str, records: Records, folder: Path) -> Path | None:
    """Draws one of `PLOTS`, if there are results for it."""
    title, make = PLOTS[name]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = make(records)
        if figure is None:
            return None
        path = folder / f"{name}.svg"
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    path.write_text(for_page(path.read_text(encoding="utf-8"), name, title), encoding="utf-8")
    return path


def for_page(svg: str, name: str, title: str) -> str:
    """Returns an SVG that can be part of a page: without a prolog, with a title, and with styles and ids of its own."""
    svg = svg[svg.index("<svg ") :].replace(INK, "currentColor")
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[\w.]+_\d+">', "<g>", svg)  # nothing refers to the names of groups
    svg = re.sub(r"font-family: [^;\"]+", "font-family: system-ui, sans-serif", svg)
    svg = svg.replace("*{", f"#plot-{name} *{{")
    svg = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", svg, count=2)
    start = f'<svg id="plot-{name}" color="{GREY}" '
    svg = re.sub(r">", f">\n<title>{title}</title>", svg.replace("<svg ", start, 1), count=1)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


# === Forward passes ===


def forward(records: Records) -> Figure | None:
    """Compares the times of forward passes with the peer's: a column for each model, a row for each dtype."""
    tables = {
        dtype: records[f"forward.{dtype}"]["rows"] for dtype in MOST_OF_TRANSFORMERS if f"forward.{dtype}" in records
    }
    if not tables:
        return None
    models = list(dict.fromkeys(name_of(row) for rows in tables.values() for row in rows))
    figure = Figure(figsize=(7.6, 0.9 + 1.5 * len(tables)), layout="constrained")
    axes = figure.subplots(len(tables), len(models), squeeze=False, sharex=True, sharey=True)
    for line, (dtype, rows) in enumerate(tables.items()):
        for column, model in enumerate(models):
            forward_panel(axes[line][column], [row for row in rows if name_of(row) == model], dtype)
            if line == 0:
                axes[line][column].set_title(model)
        axes[line][0].set_ylabel(dtype)
    figure.supxlabel("time, of transformers' (torch) or KerasHub's (jax)", fontsize=9, color=INK)
    named = {mark.get_label(): mark for panel in axes.flat for mark in panel.get_lines() if mark.get_label()[0] != "_"}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=len(named))
    return figure


def forward_panel(axes: Axes, rows: list[Row], dtype: str) -> None:
    shapes = [f"{batch}×{length}" for batch, length in MOST_OF_TRANSFORMERS[dtype]]
    series: dict[str, dict[str, float]] = {}
    for row in rows:
        if not is_peer(row["computed by"]) and row["of the peer's, %"] is not None:
            title = f"{row['computed by']}, {runtime_of(row)}"
            series.setdefault(title, {})[row["shape"]] = row["of the peer's, %"]
    for number, (title, shares) in enumerate(series.items()):
        offset = 0.22 * (number - (len(series) - 1) / 2)
        heights = [shapes.index(shape) + offset for shape in shares]
        axes.plot(list(shares.values()), heights, "o", color=COLOURS.get(title, GREY), label=title)
    bars = list(MOST_OF_TRANSFORMERS[dtype].values())
    axes.plot(bars, range(len(bars)), **BAR, label="bar, torch")
    as_shares(axes, shapes)


# === Training, loading, starting ===


def libraries(records: Records) -> Figure | None:
    """Compares steps, second loads and starts with those of the peers, with the bars."""
    panels = {title: shares for title, shares in library_shares(records) if shares}
    if not panels:
        return None
    rows = [len(shares) for shares in panels.values()]
    figure = Figure(figsize=(7.6, 0.7 + 0.5 * len(panels) + 0.2 * sum(rows)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=rows)
    for panel, (title, shares) in zip(axes[:, 0], panels.items(), strict=True):
        panel.set_title(title, loc="left")
        for number, (label, (share, bar)) in enumerate(shares.items()):
            panel.plot([share], [number], "o", color=COLOURS["jax" if ", jax" in label else "torch"])
            if bar is not None:
                panel.plot([bar], [number], **BAR)
        as_shares(panel, list(shares))
    return figure


def library_shares(records: Records) -> Iterator[tuple[str, dict[str, tuple[float, float | None]]]]:
    """Yields the title of each panel, and by label its shares, each with its bar."""

    def own(name: str, column: str, share: str, bar: Callable[[Row], float | None]):
        rows = records.get(name, {"rows": []})["rows"]
        return {
            f"{row['model']}{detail(row[column])}": (row[share], bar(row))
            for row in rows
            if not is_peer(row[column]) and row[share] is not None
        }

    def of_step(row: Row) -> float:
        return training.MOST_OF_PEFT if is_compared_with_peft(row) else training.MOST_OF_KERASHUB

    def of_memory(row: Row) -> float | None:
        return training.MOST_OF_PEFT_MEMORY if is_compared_with_peft(row) else None

    def of_load(row: Row) -> float:
        return loading.most_again(row["model"], row["loaded"])

    def of_transformers(row: Row) -> float | None:
        return starting.MOST_OF_TRANSFORMERS.get(runtime_of(row))

    def of_kerashub(row: Row) -> float | None:
        return starting.MOST_OF_KERASHUB.get(runtime_of(row))

    steps, peers = ("training", "trained by"), "of KerasHub's or PEFT's"
    yield f"LoRA step, {peers}", own(*steps, "of the peer's, %", of_step)
    yield f"peak memory of training, {peers}", own(*steps, "of the peer's, whole, %", of_memory)
    yield "second load, of transformers'", own("loading", "loaded", "again of transformers, ×", of_load)
    starts = ("starting", "started")
    yield "start to first output, of transformers'", own(*starts, "of transformers', %", of_transformers)
    yield "start to first output, of KerasHub's", own(*starts, "of KerasHub's, %", of_kerashub)


def is_compared_with_peft(row: Row) -> bool:
    return training.PEERS[row["trained by"]] == training.PEFT


def detail(title: str) -> str:
    return f", {title.removeprefix('from a ').removeprefix('Vertebra, ')}" if title != "Vertebra" else ""


# === Growth ===


def growth(records: Records) -> Figure | None:
    """Draws memory over calls, discovery over plugins, and compiling over layers."""
    panels = [(name, make) for name, make in GROWTH.items() if f"growth.{name}" in records]
    if not panels:
        return None
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for panel, (name, make) in zip(axes[0], panels, strict=True):
        make(panel, records[f"growth.{name}"]["rows"])
        panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
        panel.set_xlim(left=0)
    return figure


def memory_panel(axes: Axes, rows: list[Row]) -> None:
    for row in rows:
        runtime = row["again and again"].rpartition(", ")[2]
        values = [row[f"after {count:,}, MB"] for count in COUNTS]
        marker = "o-" if "loaded" in row["again and again"] else "s--"
        label = f"{'loads' if 'loaded' in row['again and again'] else 'swaps'}, {runtime}"
        axes.plot(COUNTS, values, marker, color=COLOURS.get(runtime, GREY), label=label, linewidth=1)
    axes.set(title="memory of a process, MB", xlabel="loads, swaps of adapters")
    axes.legend(fontsize=7)


def discovery_panel(axes: Axes, rows: list[Row]) -> None:
    counts = [int(row["more plugins"].replace(",", "")) for row in rows]
    axes.plot(counts, [row["vertebra presets, s"] for row in rows], "o-", color=GREY, linewidth=1)
    axes.set(title="vertebra presets, s", xlabel="more plugins")


def compiling_panel(axes: Axes, rows: list[Row]) -> None:
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        points = [(int(row["layers"]), row["first call, s"]) for row in rows if row["runtime"] == runtime]
        axes.plot(*zip(*points, strict=True), "o-", color=COLOURS.get(runtime, GREY), label=runtime, linewidth=1)
    axes.set(title="first compiled call, s", xlabel="layers")
    axes.legend(fontsize=7)


GROWTH = {"memory": memory_panel, "discovery": discovery_panel, "compiling": compiling_panel}
PLOTS: dict[str, tuple[str, Callable[[Records], Figure | None]]] = {
    "forward": ("Forward passes, compared with transformers and KerasHub", forward),
    "libraries": ("Steps, loads and starts, compared with the peers", libraries),
    "growth": ("How costs grow", growth),
}
"""The title and the function of each plot."""


# === Parts of all ===


def name_of(row: Row) -> str:
    """Returns the name of the model without its size and runtime."""
    return row["model"].partition(",")[0]


def runtime_of(row: Row) -> str:
    return row["model"].rpartition(", ")[2]


def is_peer(title: str) -> bool:
    return title.startswith("*")


def as_shares(axes: Axes, labels: list[str]) -> None:
    """Names the heights of a panel from the top down, and draws the line of equal figures."""
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(labels)), [textwrap.shorten(label, 60, placeholder=" …") for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, max(1.2, axes.get_xlim()[1]))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.tick_params(length=2)
