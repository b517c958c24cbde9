"""The options of `--ray`: they are there with the plugin, and cost no import of Ray."""

import subprocess
import sys

import pytest

from vertebra.cli import main
from vertebra_ray.plugin import vertebra_command_options


@pytest.mark.parametrize("command", ["embed", "classify", "tag", "rerank"])
def test_each_command_over_files_has_the_options(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert "--ray ADDRESS" in shown
    assert "--ray-gpus N" in shown


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (("--ray-actors", "0"), "'0': expected a number of at least 1"),
        (("--ray-cpus", "x"), "'x': expected a number of at least 1"),
        (("--ray-gpus", "1.5"), "'1.5': expected a share of a GPU from 0 to 1"),
    ],
)
def test_other_numbers_are_wrong_usage(option, problem, capsys):
    with pytest.raises(SystemExit):
        main(["embed", "in.txt", "-o", "out.npy", "--preset", "p", "--ray", "local", *option])
    assert problem in capsys.readouterr().err


def test_help_imports_no_ray():
    code = "import sys; from vertebra.cli import main\ntry: main(['embed', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'ray', 'torch', 'keras', 'pyarrow'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("[]\n")


def test_the_contribution_names_its_commands():
    (spec,) = vertebra_command_options()
    assert (spec.name, spec.commands) == ("ray", ("embed", "classify", "tag", "rerank"))
