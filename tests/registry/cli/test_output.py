"""Columns, sizes and trees."""

import pytest

from vertebra.cli.output import bytes_text, print_rows
from vertebra.cli.terminal.tree import draw_tree


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (437_928_960, "437.9 MB"), (10**13, "10.0 TB")]
)
def test_sizes(size, text):
    assert bytes_text(size) == text


def test_columns_are_aligned_and_empty_cells_are_marked(capsys):
    print_rows([{"a": "long name", "b": 1234}, {"a": "x", "b": None}, {"a": True, "b": ["p", "q"]}], ("a", "b"))
    assert capsys.readouterr().out.splitlines() == [
        "A          B",
        "long name  1,234",
        "x          -",
        "yes        p, q",
    ]


def test_layers_that_differ_are_drawn_apart():
    tensors = [
        {"name": f"layer_{n}/kernel", "shape": [2, n // 2], "dtype": "float32", "parameters": n} for n in range(4)
    ]
    lines = draw_tree("Model", tensors).splitlines()
    assert lines[0] == "Model  6"
    assert lines[1].startswith("├─ layer_{0…1} ×2")
    assert lines[3].startswith("└─ layer_{2…3} ×2")
