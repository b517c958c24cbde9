"""The whole command: exit statuses, errors, and imports that it must avoid."""

import json
import subprocess
import sys

import pytest

from vertebra._discovery.core_commands import MODULES
from vertebra.cli import main
from vertebra.cli.controls.command import build_parser

LISTINGS = ["plugins", "backbones", "presets", "sources", "strategies", "runtimes"]
FRAMEWORKS = {"keras", "torch", "jax", "tensorflow"}


def test_every_command_is_in_the_help(capsys):
    build_parser().print_help()
    shown = capsys.readouterr().out
    assert all(command in shown for command in MODULES)


def test_without_a_command_prints_help_and_says_wrong_usage(capsys):
    assert main([]) == 2
    assert "usage: vertebra" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vertebra 0.")


def test_an_error_goes_to_stderr_with_status_1(capsys):
    assert main(["inspect", "no_such_preset"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")


def test_ctrl_c_ends_without_a_traceback(monkeypatch, capsys):
    def interrupt(chosen):
        raise KeyboardInterrupt

    monkeypatch.setattr("vertebra.cli.inspect._run", interrupt)
    assert main(["inspect", "x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


INTERRUPTED = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            sys.argv[1] = ""
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
from vertebra.cli import main
sys.exit(main(["presets"]))
"""
EARLY = ["vertebra.cli.controls.command", "vertebra.errors", "argparse", "vertebra.cli.terminal.streams", "pluggy"]


@pytest.mark.parametrize("module", EARLY)
def test_ctrl_c_during_the_imports_is_one_too(module):
    """V9e, CL-01."""
    command = [sys.executable, "-c", INTERRUPTED, module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_reader_that_leaves_early_is_no_error():
    code = "import sys; from vertebra.cli import main; sys.exit(main(['presets']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 141


def test_imports_no_framework(sample_preset):
    commands = [[name] for name in LISTINGS] + [["inspect", str(sample_preset)]]
    code = (
        "import json, sys; from vertebra.cli import main; "
        "status = [main(words) for words in json.loads(sys.argv[1])]; "
        "print(json.dumps([status, list(sys.modules)]), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    statuses, imported = json.loads(done.stderr.splitlines()[-1])
    assert statuses == [0] * len(commands)
    assert not {name.partition(".")[0] for name in imported} & FRAMEWORKS


def test_wrong_usage_is_status_2():
    with pytest.raises(SystemExit) as stop:
        main(["no-such-command"])
    assert stop.value.code == 2
