"""Commands of plugins: help, completion, exit statuses, and errors that name the plugin."""

import os
import subprocess
import sys

import pytest

from vertebra._discovery import catalog
from vertebra.cli import main
from vertebra.cli.controls.plugin_commands import broken_commands

HOOK = """
from vertebra import CommandSpec, hookimpl

@hookimpl
def vertebra_commands():
    return [CommandSpec(name, help, f"acme_code:{code}", schema) for name, help, code, schema in {commands!r}]
"""
CODE = '''
import json, sys

def sound(parser):
    """One with a schema."""
    parser.add_argument("preset", help="a preset")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=lambda args: print(json.dumps(args.preset) if args.json else args.preset))

def group(parser):
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    one = actions.add_parser("one", help="the only action")
    one.set_defaults(run=lambda args: 7)

SCHEMA, NO_SCHEMA, NO_JSON = {"$schema": "x", "title": "y"}, 3, {"enum": {1, 2}}

def optional(parser):
    parser.add_subparsers(metavar="ACTION").add_parser("one").set_defaults(run=lambda args: 7)

def ending(parser): sys.exit(0)
def failing(parser): raise RuntimeError("cannot")
def percent(parser): parser.add_argument("--share", help="100% of it")
def no_run(parser): parser.add_argument("--x")
def status(value): return lambda parser: parser.set_defaults(run=lambda args: value)
text, true, none, three = map(status, ("done", True, None, 3))
def exits(parser): parser.set_defaults(run=lambda args: sys.exit(4))
def boom(parser): parser.set_defaults(run=lambda args: {}["key"])
def missing(parser): parser.set_defaults(run=lambda args: open("/no/such"))
'''


@pytest.fixture
def commands(install, reload_plugins, monkeypatch):
    """Returns a function that installs a plugin with commands, each with its help, code and schema."""
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme*")

    def add(*found, name="acme"):
        site = install(name, HOOK.replace("{commands!r}", repr(found))).parent
        (site / "acme_code.py").write_text(CODE)
        reload_plugins()
        return site

    yield add
    sys.modules.pop("acme_code", None)


@pytest.fixture
def run(capsys):
    """Returns a function that runs a command, and returns its status, output and errors."""

    def command(*words):
        try:
            status = main(list(words))
        except SystemExit as stop:
            status = stop.code
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return command


def test_a_command_has_help_errors_and_output_as_those_of_the_core(commands, run):
    commands(("sound", "does 100% of it", "sound", "acme_code:SCHEMA"))
    assert run("sound", "x") == (0, "x\n", "")
    assert run("sound", "x", "--json") == (0, '"x"\n', "")
    for words in (("sound", "--help"), ("help", "sound")):
        status, out, _ = run(*words)
        assert (status, "does 100% of it" in out, "usage: vertebra sound" in out) == (0, True, True)
    assert "Did you mean --json?" in run("sound", "x", "--jsn")[2]
    assert "Did you mean sound?" in run("soumd", "x")[2]
    assert "does 100% of it" in run("commands")[1]
    assert '"title": "y"' in run("schema", "sound")[1]


def test_actions_of_a_command(commands, run):
    commands(("group", "has actions", "group", ""))
    assert run("group", "one")[0] == 7
    assert run("group")[0] == 2


def test_a_group_without_an_action_shows_its_usage(commands, run):
    commands(("group", "has actions", "optional", ""))
    assert run("group", "one")[0] == 7
    status, out, err = run("group")
    assert (status, out) == (2, "")
    assert err.startswith("usage: vertebra group")
    assert "name an action" in err


@pytest.mark.parametrize(("code", "status"), [("none", 0), ("three", 3), ("exits", 4)])
def test_the_exit_status_is_the_plugin_s(commands, run, code, status):
    commands(("sound", "x", code, ""))
    assert run("sound")[0] == status


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("gone", "acme_code:gone cannot be imported"),
        ("failing", "its function acme_code:failing failed (RuntimeError: cannot, in "),
        ("ending", "its function acme_code:ending failed (SystemExit: 0, in "),
        ("percent", "its function acme_code:percent failed ("),
        ("no_run", "acme_code:no_run sets no function to run: parser.set_defaults(run=...)"),
        ("text", "its command sound returned 'done', expected an exit status"),
        ("true", "its command sound returned True, expected an exit status"),
        ("boom", "its command sound failed (KeyError: 'key', in "),
    ],
)
def test_a_broken_command_names_the_plugin(commands, run, code, said):
    commands(("sound", "x", code, ""))
    status, out, err = run("sound")
    assert (status, out) == (1, "")
    assert err.startswith("error: Plugin acme: ")
    assert said in err
    assert "Traceback" not in err


def test_errors_of_the_system_are_those_of_the_system(commands, run):
    commands(("sound", "x", "missing", ""))
    assert run("sound") == (1, "", "error: /no/such: No such file or directory\n")


@pytest.mark.parametrize("name", ["Big Name", "-dash", "é", "", "under_score"])
def test_a_name_that_is_no_word_quarantines_the_plugin(commands, run, name):
    commands((name, "x", "sound", ""))
    assert run("commands", "--json")[1].strip() == "[]"
    assert f"returned a command named {name!r}. Name it with a word" in run("plugins")[1]


@pytest.mark.parametrize("name", ["presets", "config", "help"])
def test_the_core_keeps_its_commands(commands, run, name):
    commands((name, "x", "sound", ""))
    assert run("commands", "--json")[1].strip() == "[]"
    assert f"its command {name!r} is not used: that is a name of the core" in run("plugins")[1]


def test_a_command_of_two_plugins_is_a_clash(commands, run, monkeypatch, reload_plugins):
    commands(("twin", "x", "three", ""))
    commands(("twin", "y", "three", ""), name="acme-two")
    status, _, err = run("twin")
    assert status == 1
    assert "The command name 'twin' is claimed by acme 1.0 (acme) and acme-two 1.0 (acme_two)" in err
    monkeypatch.setenv("VERTEBRA_PREFER", "acme-two")
    reload_plugins()
    assert run("twin")[0] == 3


def test_a_plugin_that_fails_is_named_as_by_other_commands(commands, run, install, reload_plugins):
    commands(("sound", "x", "three", ""))
    install("acme-policy", "raise RuntimeError('no rules')")
    reload_plugins()
    status, _, err = run("sound")
    assert status == 3
    assert "warning: plugin acme-policy of acme-policy is not used: " in err
    assert "no rules" in err


def test_completion_leaves_out_a_broken_command_and_names_it(commands, run):
    commands(("sound", "x", "sound", ""), ("broken", "x", "failing", ""))
    status, out, err = run("completion", "bash")
    assert status == 0
    assert "sound" in out
    assert "broken" not in out
    assert "error: Plugin acme: its function acme_code:failing failed" in err


def test_the_doctor_tries_the_code_of_commands(commands):
    broken = [(f"c{number}", "x", code, "") for number, code in enumerate(("failing", "no_run", "gone"))]
    commands(("sound", "x", "sound", "acme_code:NO_SCHEMA"), *broken)
    problems = broken_commands("acme")
    assert len(problems) == 4
    assert any("acme_code:NO_SCHEMA is 3, expected a JSON Schema as a dict" in problem for problem in problems)
    assert broken_commands("other") == []


@pytest.mark.parametrize("schema", ["NO_SCHEMA", "NO_JSON"])
def test_a_schema_that_is_none_names_the_plugin(commands, run, schema):
    commands(("sound", "x", "sound", f"acme_code:{schema}"))
    status, out, err = run("schema", "sound")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: Plugin acme: acme_code:{schema} is ")
    assert "expected a JSON Schema as a dict of values that JSON has" in err
    assert len(broken_commands("acme")) == 1


def test_the_doctor_reports_it(commands):
    site = commands(("sound", "x", "failing", ""))
    environment = os.environ | {"PYTHONPATH": str(site), "VERTEBRA_PLUGINS": "acme"}
    doctor = [sys.executable, "-m", "vertebra.cli", "doctor"]
    done = subprocess.run(doctor, env=environment, capture_output=True, text=True)
    assert "FAIL code of acme: its function acme_code:failing failed (RuntimeError: cannot" in done.stdout


def test_the_first_party_commands_work():
    plugins = {entry.plugin for entry in catalog.catalog(catalog.COMMANDS).claims()}
    assert plugins
    assert all(broken_commands(plugin) == [] for plugin in plugins)


# === Options of further plugins ===

OPTION_HOOK = """
from vertebra import CommandOptionSpec, hookimpl

@hookimpl
def vertebra_command_options():
    return [CommandOptionSpec("engine", ("sound", "not-installed"), "acme_engine:CODE")]
"""
OPTION_CODE = """
def option(parser): parser.add_argument("--engine", dest="preset")
def same(parser): parser.add_argument("--json")
"""


@pytest.fixture
def engine(commands, install, reload_plugins):
    """Returns a function that installs a plugin with an option for the command of another one."""

    def add(code):
        commands(("sound", "x", "sound", ""))
        site = install("acme_options", OPTION_HOOK.replace("CODE", code)).parent
        (site / "acme_engine.py").write_text(OPTION_CODE)
        reload_plugins()

    yield add
    sys.modules.pop("acme_engine", None)


def test_a_plugin_adds_an_option_to_a_command_of_another_one(engine, run):
    engine("option")
    assert run("sound", "x", "--engine", "y") == (0, "y\n", "")
    assert "--engine" in run("sound", "--help")[1]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("gone", "acme_engine:gone cannot be imported"),
        (
            "same",
            "its function acme_engine:same failed for vertebra sound (ArgumentError: argument --json: conflicting",
        ),
    ],
)
def test_a_broken_option_names_its_plugin(engine, run, code, said):
    engine(code)
    status, out, err = run("sound", "x")
    assert (status, out) == (1, "")
    assert err.startswith("error: Plugin acme_options: ")
    assert said in err
