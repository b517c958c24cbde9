"""Long paths (CA-06): they work as far as the system has them, and end in our errors beyond; nothing is left over."""

import os
import shutil

import pytest

import vertebra
from vertebra.cli import main
from vertebra.errors import VertebraError

pytestmark = pytest.mark.keras(once=True)

LENGTHS = [261, 1_000, 3_900, 4_050, 4_096, 5_000]


def long_path(folder, length):
    """Returns a path of some characters below a folder, whose names are as long as file systems allow."""
    rest = length - len(os.fspath(folder)) - 1
    names = [("x" * 254)[: max(1, min(254, rest - start))] for start in range(0, rest, 255)]
    return folder.joinpath(*names)


def works_or_is_refused(action, length):
    """Runs an action; beyond the length that every part of it has room for, one of our errors is right, too."""
    if length > 3_000:
        try:
            action()
        except VertebraError:
            return False
    else:
        action()
    return True


@pytest.mark.parametrize("length", [261, 3_900, 4_050, 5_000])
@pytest.mark.parametrize("format", ["native", "kerashub"])
def test_a_preset_with_a_long_path_is_written_and_read_or_refused(golden, format, length, tmp_path):
    """CA-06."""
    backbone = vertebra.Backbone.from_preset(golden / ("kerashub" if format == "kerashub" else "transformers"))
    folder = long_path(tmp_path / "presets", length)
    if works_or_is_refused(lambda: backbone.save_to_preset(folder, format=format), length):
        assert vertebra.Backbone.from_preset(folder).count_params() == backbone.count_params()
    else:
        assert not [name for _, _, names in os.walk(tmp_path) for name in names]
    shutil.rmtree(tmp_path / "presets", ignore_errors=True)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("words", [["inspect"], ["plan"], ["pull"], ["lora", "info"], ["lock"], ["verify"]])
def test_a_long_path_to_nothing_is_an_error_of_ours(words, length, tmp_path, capsys):
    """CA-06."""
    assert main([*words, str(long_path(tmp_path / "presets", length))]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "unexpected" not in shown


@pytest.mark.parametrize("length", LENGTHS)
def test_a_preset_is_copied_and_locked_at_a_long_path_or_refused(golden, length, tmp_path, capsys):
    """CA-06."""
    target = long_path(tmp_path / "copies", length)
    status = main(["pull", str(golden / "transformers"), "--to", str(target)])
    shown = capsys.readouterr().err
    assert (status, "unexpected" in shown) in ((0, False), (1, False)), shown
    assert status == 0 or length > 3_000
    lockfile = long_path(tmp_path / "locks", length)
    status = main(["lock", str(golden / "transformers"), "--lockfile", str(lockfile)])
    shown = capsys.readouterr().err
    assert (status, "unexpected" in shown) in ((0, False), (1, False)), shown
