"""The suite for commands notices one that prints more than its JSON."""

import json
import sys
import types

import pytest

import vertebra
from vertebra import CommandSpec, hookimpl
from vertebra.testing import CommandSuite


@pytest.mark.parametrize(("text", "is_sound"), [("", True), ("Reading...\n", False)])
def test_text_before_the_document_is_noticed(text, is_sound, capsys, monkeypatch):
    def run(args):
        print(text + json.dumps([1]))
        return 0

    def add_arguments(parser):
        parser.add_argument("--json", action="store_true")
        parser.set_defaults(run=run)

    spec = CommandSpec("acme", "print numbers", "acme_command:add_arguments", "acme_command:SCHEMA")
    plugin = types.ModuleType("acme_command")
    plugin.add_arguments, plugin.SCHEMA = add_arguments, {"$schema": "", "title": "Numbers", "type": "array"}
    plugin.vertebra_commands = hookimpl(lambda: [spec], specname="vertebra_commands")
    monkeypatch.setitem(sys.modules, "acme_command", plugin)
    vertebra.add_plugin(plugin, "acme")
    try:
        if is_sound:
            CommandSuite().test_its_json_is_one_document(spec, "acme_command", [], capsys)
            return
        with pytest.raises(ValueError, match="Expecting value") as caught:
            CommandSuite().test_its_json_is_one_document(spec, "acme_command", [], capsys)
        assert caught.value.__notes__[0].startswith("CM-06: ")
    finally:
        vertebra.remove_plugin("acme")
