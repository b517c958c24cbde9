"""The rules for commands, and what the command prints."""

import json
from pathlib import Path

import pytest
from vertebra import CommandSpec, cli
from vertebra.testing import CommandSuite

from example_plugin import vertebra_commands


class TestExamplePlugin(CommandSuite):
    @pytest.fixture
    def spec(self) -> CommandSpec:
        (spec,) = vertebra_commands()
        return spec

    @pytest.fixture
    def json_arguments(self, tmp_path: Path) -> list[str]:
        (tmp_path / "config.json").write_text("{}")
        return [str(tmp_path)]


def test_it_lists_the_files_of_a_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("A preset.")
    assert cli.main(["example-name", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "README.md\nconfig.json\n"
    assert cli.main(["example-name", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["README.md", "config.json"]
