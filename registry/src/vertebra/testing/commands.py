"""The suite for subcommands of `vertebra`: subclass `CommandSuite`, and define the fixture `spec`.

class TestMyCommand(CommandSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = my_plugin.vertebra_commands()
        return spec
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence

import pytest

from vertebra import cli
from vertebra._discovery.core_commands import RESERVED
from vertebra._discovery.runtimes import framework_names
from vertebra.specs import CommandSpec, resolve_reference
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.processes import run_python
from vertebra.testing.rules import rule

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TYPES = {"object": dict, "array": list}
_HELP = """
import sys
from vertebra import cli
from vertebra.testing.plugins import use_plugin
use_plugin(sys.argv[1])
try:
    cli.main([sys.argv[2], "--help"])
except SystemExit as ended:
    print("\\nstatus", ended.code)
print("imported", *(name for name in sys.argv[3:] if name in sys.modules))
"""


class CommandSuite(PluginSuite):
    """Tests of a subcommand. Give the subclass a name that pytest collects, and define the fixture `spec`."""

    @pytest.fixture
    def spec(self) -> CommandSpec:
        """The command, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def entry_module(self, spec: CommandSpec, tested_modules: set[str]) -> str:
        """Name of the module that contributes the command."""
        return entry_module_of("vertebra_commands", spec.name, tested_modules)

    @pytest.fixture
    def json_arguments(self) -> Sequence[str]:
        """Arguments with which the command succeeds and prints JSON, without `--json`."""
        pytest.skip("the `json_arguments` fixture is not defined")

    @rule("CM-01")
    def test_its_name_is_a_word_of_its_own(self, spec: CommandSpec) -> None:
        """The name is one lower-case word that the core does not use, and the help is one line."""
        assert _NAME.fullmatch(spec.name)
        assert spec.name not in RESERVED
        assert spec.help
        assert spec.help.isprintable()

    @rule("CM-02")
    def test_its_parser_names_the_function_to_run(self, spec: CommandSpec) -> None:
        """The reference is a function of a parser, which sets the default `run` to a function."""
        assert callable(_parser(spec).get_default("run"))

    @rule("CM-03")
    def test_its_help_imports_no_framework(self, spec: CommandSpec, entry_module: str) -> None:
        """`--help` shows all options, ends with status 0 and imports no framework."""
        shown = run_python(_HELP, entry_module, spec.name, *framework_names())
        assert "usage:" in shown
        parser = _parser(spec)
        actions = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
        options = {option for action in actions for option in action.option_strings}
        assert {option for option in options if option not in shown} == set()
        assert re.search(r"^status (None|0)$", shown, flags=re.MULTILINE)
        assert shown.splitlines()[-1].strip() == "imported"

    @rule("CM-04")
    def test_an_unknown_option_is_an_error(
        self, spec: CommandSpec, entry_module: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An unknown option ends with status 2 and the usage on stderr."""
        with pytest.raises(SystemExit) as ended:
            cli.main([spec.name, "--no-such-option"])
        assert ended.value.code == 2
        assert "usage:" in capsys.readouterr().err

    @rule("CM-05")
    def test_its_json_has_a_schema(self, spec: CommandSpec) -> None:
        """A command that takes `--json` names the JSON Schema of its output, a dict with `$schema` and `title`."""
        parser = _parser(spec)
        if not any("--json" in action.option_strings for action in parser._actions):
            pytest.skip("it has no option --json")
        assert spec.schema, "CommandSpec.schema names none, such as 'my_package.command:SCHEMA'"
        schema = resolve_reference(spec.schema)
        assert isinstance(schema, dict)
        assert {"$schema", "title"} <= schema.keys()

    @rule("CM-06")
    def test_its_json_is_one_document(
        self,
        spec: CommandSpec,
        entry_module: str,
        json_arguments: Sequence[str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """With `--json`, the command prints one JSON document of the type that its schema names, and nothing else."""
        assert cli.main([spec.name, *json_arguments, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        wanted = resolve_reference(spec.schema).get("type")
        assert isinstance(document, _TYPES.get(wanted, object)), f"expected {wanted}, found {type(document).__name__}"


def _parser(spec: CommandSpec) -> argparse.ArgumentParser:
    """Returns a parser with the arguments of the command."""
    parser = argparse.ArgumentParser()
    resolve_reference(spec.command)(parser)
    return parser
