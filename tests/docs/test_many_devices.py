"""The page about many devices: its outputs and tables are those of the command, on presets of 141 and 812 GB."""

import json
import re

import pytest

from large_llamas import LLAMAS, write_llama
from pages import page
from vertebra.cli import main
from vertebra.cli.output import bytes_text

SIZES = (("llama-70b", 70), ("llama-405b", 405))
TEXT = page("how-to/plan-many-devices.md")
BLOCKS = re.findall(r"^```console\n\$ vertebra (plan .+)\n((?:.*\n)+?)```$", TEXT, flags=re.MULTILINE)
SECTIONS = {name: TEXT.partition(f"\n## {size} billion parameters")[2].partition("\n## ")[0] for name, size in SIZES}
ROWS = [
    (name, *row)
    for name, section in SECTIONS.items()
    for row in re.findall(r"^\| `(--train .+?)` \| (\d+) \| (.+) \|$", section, flags=re.MULTILINE)
]
WORKS = (
    "--train full",
    "--train full --recompute",
    "--train full --recompute --dtype mixed_bfloat16",
    "--train lora",
    "--train lora --recompute",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of the presets, whose files have their lengths and no contents."""
    folder = tmp_path_factory.mktemp("models")
    for name in LLAMAS:
        write_llama(name, folder)
    return folder


def cells(plan):
    """Returns the cells of a row after the number of devices: of the first mesh that fits, or of the smallest."""
    first = plan["first_fit"]
    usable = [mesh for mesh in plan["meshes"] if mesh["problem"] is None]
    mesh = min(usable, key=lambda mesh: mesh["total"]) if first is None else plan["meshes"][first]
    sizes = "x".join(str(axis["size"]) for axis in mesh["axes"])
    states = mesh["gradients"] + mesh["optimizer"]
    parts = (mesh["weights"], mesh["gathered"], states, mesh["activations"], mesh["total"])
    return [f"none; smallest on {sizes}" if first is None else sizes, *map(bytes_text, parts)]


def test_the_outputs_are_those_of_the_command(models, monkeypatch, capsys):
    assert len(BLOCKS) > 2
    monkeypatch.chdir(models)
    for words, shown in BLOCKS:
        assert main(words.split()) == 0
        assert capsys.readouterr().out.replace(f"file://{models}/", "file:///models/") == shown


def test_each_table_has_each_work_on_8_64_and_512_devices():
    found = [(name, work, devices) for name, work, devices, _ in ROWS]
    assert found == [(name, work, devices) for name in LLAMAS for work in WORKS for devices in ("8", "64", "512")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:3]))
def test_each_row_has_the_figures_of_the_command(row, models, capsys):
    name, options, devices, rest = row
    dtype = [] if "--dtype" in options else ["--dtype", "bfloat16"]
    words = [*options.split(), *dtype, "--devices", devices, "--memory", "72GB", "--json"]
    assert main(["plan", str(models / name), *words]) == 0
    assert rest.split(" | ") == cells(json.loads(capsys.readouterr().out)["devices"])
