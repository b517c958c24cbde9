"""The arguments of `from_preset` that choose a mesh."""

import pytest

from vertebra import LayoutRule
from vertebra._placement.division import chosen_mesh
from vertebra.errors import ArgumentError

RULE = LayoutRule("attention.query", ("block_*/query",), "columns", "num_heads")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("layout", "auto"), ("layout", [RULE]), ("parallel", "fsdp"), ("on_uneven", "replicate")],
)
def test_arguments_of_a_mesh_without_a_mesh_are_errors(argument, value):
    arguments = {"layout": None, "parallel": None, "on_uneven": "error"} | {argument: value}
    with pytest.raises(ArgumentError, match=rf"{argument}=.+expected a mesh with it: pass mesh="):
        chosen_mesh(None, None, **arguments)


def test_no_mesh_is_chosen():
    assert chosen_mesh(None, None, layout=None, parallel=None, on_uneven="error") is None
