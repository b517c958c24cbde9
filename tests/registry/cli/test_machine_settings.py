"""The machine's configuration in processes of their own, whose /etc has the file: no variable weakens it."""

import os
import subprocess
import sys

import pytest

POLICY = """
from vertebra import hookimpl

@hookimpl
def vertebra_refuse_preset(handle):
    return "not on the list of this organisation"
"""
UNSHARED = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = 'mount -t overlay overlay -o "lowerdir=$1:/etc" /etc && shift && exec "$@"'


@pytest.fixture
def command(install, tmp_path):
    """Returns a function that runs the command as a user of a machine with a policy and rules."""
    site = install("acme-policy", POLICY).parent
    probe = ["sh", "-c", MOUNT, "sh", str(tmp_path), "true"]
    if not sys.platform.startswith("linux") or subprocess.run([*UNSHARED, *probe], capture_output=True).returncode:
        pytest.skip("this machine does not let us lay a folder over /etc (unshare, mount)")

    def run(rules, *words, **variables):
        (tmp_path / "etc" / "vertebra").mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc" / "vertebra" / "config.toml").write_text(rules)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(site), **variables}
        python = [sys.executable, "-m", "vertebra.cli", *words]
        start = [*UNSHARED, "sh", "-c", MOUNT, "sh", str(tmp_path / "etc"), *python]
        return subprocess.run(start, env=environment, capture_output=True, text=True, timeout=120)

    return run


RULES = '[enforced]\nplugins = ["acme-policy", "*"]\noffline = true\n'


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "refused by the policy of acme-policy"),
        ({"VERTEBRA_CONFIG": os.devnull}, "refused by the policy of acme-policy"),
        ({"VERTEBRA_PLUGINS": "*"}, "refused by the policy of acme-policy"),
        ({"VERTEBRA_BLOCK": "acme-policy"}, "/etc/vertebra/config.toml [enforced] requires plugin 'acme-policy'"),
        ({"VERTEBRA_BLOCK": "acme_*"}, "/etc/vertebra/config.toml [enforced] requires plugin 'acme-policy'"),
        ({"VERTEBRA_PLUGINS": "bert"}, "/etc/vertebra/config.toml [enforced] requires plugin 'acme-policy'"),
        ({"PYTHONPATH": ""}, "/etc/vertebra/config.toml [enforced] names plugin 'acme-policy', which is not installed"),
    ],
)
def test_no_variable_takes_the_policy_out(command, sample_preset, variables, said):
    done = command(RULES, "inspect", str(sample_preset), **variables)
    assert done.returncode == 1
    assert said in done.stderr


def test_without_the_rules_it_would_have_been_read(command, sample_preset):
    done = command("", "inspect", str(sample_preset), VERTEBRA_BLOCK="acme-policy")
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor_says_what_is_enforced_and_what_contradicts_it(command):
    done = command(RULES, "doctor", VERTEBRA_BLOCK="acme-policy", VERTEBRA_OFFLINE="0")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "ok   machine settings: /etc/vertebra/config.toml is used" in lines
    assert "ok   enforced: plugins = acme-policy, *" in lines
    assert "ok   enforced: offline = True" in lines
    assert "ok   offline: /etc/vertebra/config.toml [enforced] is set: no preset is downloaded" in lines
    assert any(line.startswith("FAIL settings: /etc/vertebra/config.toml [enforced] requires") for line in lines)
    assert "VERTEBRA_OFFLINE has no effect" in done.stderr


def test_a_damaged_file_ends_every_command(command, sample_preset):
    for words in (["inspect", str(sample_preset)], ["plugins"], ["cache", "path"]):
        done = command("[enforced", *words)
        assert done.returncode == 1
        assert "/etc/vertebra/config.toml: it is not TOML" in done.stderr
    done = command("[enforced", "doctor")
    assert "FAIL settings: Settings in /etc/vertebra/config.toml: it is not TOML" in done.stdout
