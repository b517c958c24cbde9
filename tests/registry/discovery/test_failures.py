"""Plugins that are broken in ten ways do no harm to the others, and each is named with cause, owner and remedy."""

import json
import os
import re
import sys

import pytest
from benchmarks.many_plugins import WAYS, install_all

from vertebra._discovery.failures import describe_failure

HEALTHY = 11
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SAID = {
    "no valid Python": r"line 1 of broken_00\.py is no valid Python 3\.\d+\. Update the plugin: pip install",
    "a missing dependency": "line 1 of broken_01 imports 'a_package_that_is_missing', which is not installed. Install",
    "raises at import": r"line 2 of broken_02 failed \(KeyError: 'name'\). Update the plugin: pip install",
    "ends the process": r"line 3 of broken_03 tries to end the process \('no licence'\). Update the plugin: pip",
    "no module": "its module 'broken_04' is not installed. Install it again: pip install",
    "a misspelled hook": "no hook 'vertebra_preset'; did you mean 'vertebra_presets'.{2}Correct the name of the func",
    "no marker": r"vertebra_presets\(\) lacks the hookimpl marker. Decorate it with vertebra.hookimpl",
    "raises in a hook": r"line 6 of broken_07 failed \(IndexError: list index out of range\). Update the plugin: pip",
    "returns no list": r"vertebra_presets\(\) returned None, expected a list of PresetSpec. Correct the hook",
    "another API": "it supports plugin API 99, but this is API 1. Install another version of broken-09, or of vertebra",
}
"""The messages, by way."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, python):
    """The plugins, and a function that runs a command with them."""
    site = tmp_path_factory.mktemp("site")
    healthy, broken = install_all(site, HEALTHY, len(WAYS))

    def run(*words):
        code = f"import sys; sys.path.insert(0, {str(site)!r}); from vertebra.cli import main; sys.exit(main())"
        return python(["-c", code, *words], text=True, env=os.environ, timeout=120)

    return healthy, broken, run


def test_there_are_ten_ways():
    assert len(WAYS) == 10
    assert SAID.keys() == WAYS.keys()


def test_healthy_plugins_work_among_broken_ones(installed):
    healthy, broken, run = installed
    status = {plugin["name"]: plugin["status"] for plugin in json.loads(run("plugins", "--json").stdout)}
    assert {status[name] for name in healthy} == {"loaded"}
    assert {status[name] for name in broken} == {"failed", "incompatible"}
    presets = run("presets", "--json")
    assert presets.returncode == 0
    packs = [name for name in healthy if "preset-pack" in name]
    assert packs
    assert {preset["distribution"] for preset in json.loads(presets.stdout)} >= set(packs)


def test_a_broken_plugin_is_named_with_cause_and_remedy(installed):
    _, broken, run = installed
    lines = run("presets").stderr.splitlines()
    for name, way in broken.items():
        (line,) = [line for line in lines if line.startswith(f"warning: plugin {name} of {name} is not used: ")]
        assert re.search(SAID[way], line), line
    assert lines[-1] == f"hint: vertebra doctor says more; VERTEBRA_BLOCK={','.join(broken)} excludes them"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of order"), "its code failed (RuntimeError: out of order)."),
        (ValueError(), "its code failed (ValueError)."),
        (ModuleNotFoundError("No module named 'x.y'", name="x.y"), "it needs 'x.y', which is not installed."),
        (ModuleNotFoundError("gone"), "its code failed (ModuleNotFoundError: gone)."),
        (ModuleNotFoundError("no", name="acme.part"), "its module 'acme.part' is not installed."),
        (
            ImportError("cannot import name 'X' from 'a.b' (/a/b.py)"),
            "it needs 'X' of 'a.b', which the installed version lacks.",
        ),
        (ImportError("libx.so: cannot open"), "its code failed (ImportError: libx.so: cannot open)."),
        (SyntaxError("unicode", ("/a/x.py", None, None, None)), f"x.py is no valid Python {VERSION}."),
        (SystemExit(), "it tries to end the process."),
        (SystemExit(3), "it tries to end the process (3)."),
        (SyntaxError("made by hand"), "its code failed (SyntaxError: made by hand)."),
    ],
)
def test_the_cause_is_told_without_a_line_of_the_plugin(error, said):
    assert describe_failure("acme", "acme-x", error).startswith(f"{said} ")
    assert describe_failure("acme", "acme-x", error).endswith(": pip install --upgrade acme-x.")


def test_a_name_that_python_cannot_import_is_recognised():
    with pytest.raises(ImportError) as caught:
        from vertebra import NoSuchName  # noqa: F401
    said = describe_failure("acme", "acme-x", caught.value)
    assert said.startswith("it needs 'NoSuchName' of 'vertebra', which the installed version lacks. Update that, or")


def test_a_plugin_that_was_added_is_corrected_and_not_installed():
    assert describe_failure("acme", None, ValueError("no")).endswith(" Correct it, and add it again.")
