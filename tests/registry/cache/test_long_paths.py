"""CA-06: a cache, its tiers, bundles and lockfiles with long paths."""

import os

import pytest

import vertebra
from vertebra.cli import main
from vertebra.errors import VertebraError


@pytest.mark.parametrize("length", [261, 1_000, 3_900, 4_000, 4_096, 5_000])
def test_a_cache_with_a_long_path_is_used_or_refused(toy, configure, tmp_path, length, capsys):
    """CA-06: below 3,900 bytes it works, and beyond the system's limit it is an error of ours."""
    rest = length - len(os.fspath(tmp_path)) - 1
    folder = tmp_path.joinpath(*("x" * max(1, min(254, rest - start)) for start in range(0, rest, 255)))
    configure(VERTEBRA_CACHE=str(folder))
    try:
        files = vertebra.files("toy://bert")
    except VertebraError:
        assert length >= 3_900
    else:
        assert {name: path.stat().st_size for name, path in files.items()} == {"config.json": 8, "model.bin": 5120}
    for words in (["cache", "ls"], ["cache", "verify"], ["cache", "prune"], ["pull", "toy://bert"]):
        assert main(words) in ((0,) if length < 3_900 else (0, 1))
    assert main(["bundle", "toy://bert", "-o", str(folder / "bundle")]) in ((0,) if length < 3_900 else (0, 1))
    assert "unexpected" not in capsys.readouterr().err
