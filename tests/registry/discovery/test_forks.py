"""V13, PL-01: plugins that end the process are named, and the others are listed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from vertebra._discovery import forks

HOOK = "import os, signal, time\nfrom vertebra import hookimpl\n\n@hookimpl\ndef vertebra_backbones():\n    "
ENDS = {
    "a signal": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it ended the process with SIGSEGV. "),
    "a status": ("import os; os._exit(3)", "it ended the process with status 3. "),
    "a status of success": ("import os; os._exit(0)", "it ended the process with status 0. "),
    "a signal in a hook": (f"{HOOK}os.kill(os.getpid(), signal.SIGKILL)", "it ended the process with SIGKILL. "),
    "a status in a hook": (f"{HOOK}os._exit(7)", "it ended the process with status 7. "),
    "an interrupt": ("raise KeyboardInterrupt", "line 1 of killer failed (KeyboardInterrupt). "),
    "an interrupt in a hook": (f"{HOOK}raise KeyboardInterrupt", "line 6 of killer failed (KeyboardInterrupt). "),
    "an exception without a text": (
        "class E(Exception):\n    def __str__(self):\n        raise ValueError\n\nraise E",
        "line 5 of killer failed (E (without a text: str() of it failed)). ",
    ),
}
"""Sources of plugins, and the reasons for which they are not used; the last one is V9f."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="the command forks here")


@pytest.fixture
def environment(tmp_path):
    """Returns the variables of processes for which a function has installed plugins, and only those."""
    folder = tmp_path / "plugins"
    folder.mkdir()

    def variables(**sources):
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
            info = folder / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[vertebra]\n{name} = {name}\n")
        return os.environ | {"PYTHONPATH": str(folder), "VERTEBRA_PLUGINS": f"builtin,bert,{'*,'.join(sources)}*"}

    return variables


def run(environment, *words):
    command = [sys.executable, "-m", "vertebra.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("source", "reason"), ENDS.values(), ids=ENDS)
def test_a_plugin_that_ends_the_process_is_named_and_the_others_are_listed(source, reason, environment):
    """V13, PL-01, V9f."""
    done = run(environment(killer=source, other=HOOK + "return []"), "plugins", "--json")
    assert done.returncode == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["killer"]["status"] == "failed"
    assert rows["killer"]["reason"].startswith(reason)
    assert {rows[name]["status"] for name in ("bert", "other")} == {"loaded"}
    assert "plugin killer of killer is not used" in done.stderr


RUNTIME = """
import os
from vertebra import Runtime, hookimpl

class KillerRuntime(Runtime):
    name = "killer"

    def unavailable_reason(self):
        os._exit(9)

for method in KillerRuntime.__abstractmethods__:
    setattr(KillerRuntime, method, None)
KillerRuntime.__abstractmethods__ = frozenset()

@hookimpl
def vertebra_runtimes():
    return [KillerRuntime()]
"""


@pytest.mark.parametrize("words", [["runtimes"], ["doctor"]])
def test_a_runtime_that_ends_the_process_when_it_is_asked_is_named(words, environment):
    """V13."""
    done = run(environment(killer=RUNTIME), *words)
    assert done.returncode == (1 if words == ["doctor"] else 0)
    assert "it ended the process with status 9" in done.stdout + done.stderr
    assert "plugin killer of killer" in done.stdout + done.stderr


def test_each_of_several_is_named(environment):
    """V13."""
    sources = {f"killer{number}": source for number, (source, _) in enumerate(ENDS.values())}
    done = run(environment(**sources), "backbones")
    assert done.returncode == 0
    assert "BertBackbone" in done.stdout
    assert all(f"plugin {name} of {name} is not used" in done.stderr for name in sources)


def test_a_listing_ends_as_it_would_without_a_fork(environment):
    """V13: statuses of wrong usage, and of a reader that leaves early."""
    assert run(environment(), "plugins", "--no-such-option").returncode == 2
    command = [sys.executable, "-m", "vertebra.cli", "presets"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        assert (child.stderr.read(), child.wait()) == (b"", 141)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_of_the_user_ends_the_listing_and_its_fork(number, status, environment, tmp_path):
    """V13, CL-01."""
    began = tmp_path / "began"
    source = f"import pathlib, time; pathlib.Path({str(began)!r}).touch(); time.sleep(60)"
    command = [sys.executable, "-m", "vertebra.cli", "plugins"]
    options = {"env": environment(sleeper=source), "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as child:
        while not began.exists():
            time.sleep(0.01)
        (os.killpg if number == signal.SIGINT else os.kill)(child.pid, number)  # a terminal sends SIGINT to both
        shown = child.communicate(timeout=30)[1]
    assert child.returncode == status
    assert "Traceback" not in shown
    assert ("interrupted while importing plugin sleeper of sleeper" in shown) is (number == signal.SIGINT)


def test_a_fork_that_takes_too_long_for_a_plugin_is_ended():
    """V13: the doctor tries hooks so."""
    code = (
        "import os, time\n"
        "from vertebra._discovery import forks, plugin\n"
        "owner = plugin.Owner('acme', '1.0', 'acme')\n"
        "if forks.go_on_in_fork(0.2) is None:\n"
        "    if not plugin.fatal:\n"
        "        with plugin.quarantine_on_error(plugin.Plugin('acme', owner), 'calling'):\n"
        "            time.sleep(60)\n"
        "    os._exit(5)\n"
        "print(plugin.fatal)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "{'acme': 'it did not finish in 0.2 seconds'}\n"


def test_a_process_with_threads_is_not_forked(monkeypatch):
    monkeypatch.setattr(forks.threading, "active_count", lambda: 2)
    assert forks.go_on_in_fork() is None
