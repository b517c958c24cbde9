"""`vertebra doctor`: checks plugins, runtimes and LoRA strategies in child processes with a time limit."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from vertebra._configuration.child_process import PYTHON, environment, signal_name
from vertebra._configuration.settings import PREFIX, settings
from vertebra._discovery.catalog import BACKBONES, COMMANDS, RUNTIMES, STRATEGIES, Entry, catalog
from vertebra._discovery.forks import can_fork, go_on_in_fork
from vertebra._discovery.installed import find_installed
from vertebra._discovery.plugin import Plugin, fatal
from vertebra._discovery.plugins import examined, exclusion_reason
from vertebra._discovery.runtimes import available, unavailable_reason
from vertebra._resolve.lockfile import lockfile_path
from vertebra.cli.doctor_contributions import examine_contributions
from vertebra.cli.doctor_settings import examine_settings
from vertebra.cli.output import print_json
from vertebra.cli.terminal.streams import say
from vertebra.errors import SettingsError, VertebraError
from vertebra.interfaces import Runtime

_CONTRIBUTIONS = "contributions"
"""The subject of the finding that contributions cannot be examined."""
_PLUGIN_SECONDS = 10
_RUNTIME_SECONDS = 120
_IMPORT = """
def attempt(module):
    import importlib
    importlib.import_module(module)
"""
_WITHOUT_FATAL = """
import json, sys
from vertebra._discovery import plugin
plugin.fatal.update(json.loads(sys.argv[2]))
"""
"""The beginning of code that calls plugins: without those that end the process, whose checks have failed already."""
_BIND = """
def attempt(runtime):
    import vertebra
    return ', '.join(f'{device.name} ({device.kind})' for device in vertebra.use(runtime).devices())
"""
_TRY_STRATEGIES = """
def attempt(names):
    from vertebra._discovery import runtimes
    runtime = runtimes.bind_any().name
    from vertebra._lora.strategy_check import problems_of
    return {'runtime': runtime, 'problems': problems_of(json.loads(names))}
"""
_RESOLVE = """
def attempt(plugins):
    from vertebra.cli.doctor_contributions import broken_references
    return broken_references(json.loads(plugins))
"""
_REPORT = """
import json, os, sys, traceback
channel = os.dup(1)  # only the report goes to the pipe: output of plugins goes to stderr
os.dup2(2, 1)

def report(**facts):
    with open(channel, 'w', encoding='utf-8') as file:
        json.dump(facts, file)

try:
    answer = attempt(sys.argv[1])
except BaseException as error:
    report(error=' '.join(traceback.format_exception_only(error)[-1].split()))
    sys.exit(1) if isinstance(error, KeyboardInterrupt) else None
    raise
report(answer=answer)
"""
"""Calls `attempt`, and reports its result or its exception as JSON; a process that dies reports nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    subject: str
    ok: bool | None
    """None if the check did not end in time."""
    detail: str


@dataclass(frozen=True, slots=True)
class _Probe:
    """The result of a check in a child process."""

    ok: bool | None
    """None if the check did not end in time."""
    detail: str
    survived: bool = True
    """Whether `attempt` returned or raised an exception, rather than hanging or ending the process."""
    answer: Any = None
    """The value that `attempt` returned."""


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "check plugins, runtimes and settings"
    parser = commands.add_parser("doctor", help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    findings = []
    for finding in examine():
        findings.append(finding)
        if not args.json:
            say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject}: {finding.detail}", flush=True)
    if args.json:
        print_json([asdict(finding) for finding in findings])
    return 0 if all(finding.ok for finding in findings) else 1


def examine() -> Iterator[Finding]:
    """Runs all checks, and yields each finding at once."""
    yield Finding("python", True, f"{platform.python_version()}, vertebra {metadata.version('vertebra')}")
    yield from itertools.starmap(Finding, examine_settings())
    try:
        settings()
    except SettingsError:  # reported above; no other check works until the settings are corrected
        return
    yield from _examine_storage()
    ready = True
    for finding in _examine_plugins():
        ready &= finding.subject != _CONTRIBUTIONS
        yield finding
    if not ready:
        return
    yield from itertools.starmap(Finding, examine_contributions())
    for entry in catalog(RUNTIMES):
        yield _examine_runtime(entry)
    plugins = sorted({entry.plugin for kind in (BACKBONES, COMMANDS) for entry in catalog(kind).claims()})
    if plugins:
        yield from _examine_references(plugins)
    if available():
        yield from _examine_strategies([entry.name for entry in catalog(STRATEGIES)])


def _examine_storage() -> Iterator[Finding]:
    """Yields findings on the cache, its tiers, offline mode and the lockfile."""
    from vertebra._cache.default_store import default_store

    cache, user = default_store(), settings()
    existing = next(folder for folder in (cache.root, *cache.root.parents) if os.access(folder, os.F_OK))
    read_only = "" if os.access(existing, os.W_OK) else " is read-only: no preset is downloaded"
    yield Finding("cache", True, f"{cache.root}{read_only}")
    for tier in cache.tiers:
        readable = _is_readable_folder(tier)
        missing = f" is not a readable folder; correct {user.origin('cache_tiers')}"
        empty = "" if _is_readable_folder(tier / "blobs") else " holds no cached files"
        yield Finding("cache tier", readable, f"{tier}{empty if readable else missing}")
    if user.offline:
        yield Finding("offline", True, f"{user.origin('offline')} is set: no preset is downloaded")
    if user.locked:
        path = lockfile_path()
        exists = path.is_file()
        yield Finding("lockfile", exists, f"{path}{'' if exists else ' is missing: no preset loads without it'}")


def _is_readable_folder(path: Path) -> bool:
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)  # noqa: PTH112 (Path's raises for others' folders)


def _examine_plugins() -> Iterator[Finding]:
    """Yields a finding for each plugin, and failed ones on what keeps its contributions from being examined."""
    probes = _probe_plugins()
    fatal.update((plugin.owner.module, f"it {probe.detail}") for plugin, probe in probes if not probe.survived)
    _try_hooks()
    problems = [Finding("settings", False, str(problem)) for problem in examined().problems("block")]
    if problems:
        problems.append(Finding(_CONTRIBUTIONS, False, "not checked: correct the settings first"))
    else:
        try:
            catalog(BACKBONES)  # calls the hooks
        except VertebraError as error:
            problems = [Finding(_CONTRIBUTIONS, False, str(error))]
    loaded = {(plugin.name, plugin.owner): plugin for plugin in examined().plugins}
    yield from (_plugin_finding(loaded[plugin.name, plugin.owner], probe) for plugin, probe in probes)
    yield from problems


def _try_hooks() -> None:
    """Finds the plugins whose hooks or runtimes end or block the process, in forks of it."""
    if not can_fork():
        return
    if go_on_in_fork(_PLUGIN_SECONDS) is None:
        try:
            available()
        finally:
            os._exit(0)


def _probe_plugins() -> list[tuple[Plugin, _Probe]]:
    """Imports each plugin in a child process first: a plugin that hangs or crashes must not stop the doctor."""
    admitted = [plugin for _, plugin in find_installed()[0] if exclusion_reason(plugin, settings()) is None]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(zip(admitted, pool.map(_probe_plugin, admitted), strict=True))


def _probe_plugin(plugin: Plugin) -> _Probe:
    return _probe(_IMPORT, plugin.owner.module, _PLUGIN_SECONDS)


def _plugin_finding(plugin: Plugin, probe: _Probe) -> Finding:
    subject, owner = f"plugin {plugin.name} of {plugin.owner.distribution}", plugin.owner
    problem = plugin.reason or "; ".join(plugin.problems) or ("" if probe.ok else probe.detail)
    if not problem:
        return Finding(subject, True, f"{owner.module} can be imported")
    remedy = f"uninstall or update it, or block it with VERTEBRA_BLOCK={owner.distribution}"
    return Finding(subject, None if probe.ok is None else False, f"{problem.rstrip('.')}; {remedy}")


def _probe(code: str, argument: str, seconds: float, *needed: str) -> _Probe:
    """Runs code in a child process that imports the same modules as this one, but none from the current folder.

    Args:
        code: Source code of a function `attempt`, which takes one string and returns a value that JSON can hold.
        argument: The string.
        seconds: Time limit.
        needed: Regular expressions of environment variables that the code needs in addition to those of any plugin.
    """
    program = code if code == _IMPORT else _WITHOUT_FATAL + code
    command = [sys.executable, "-P", "-c", program + _REPORT, argument, json.dumps(fatal)]
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(
            command, capture_output=True, **options, env=environment(*PYTHON, *needed), timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return _Probe(None, f"did not finish in {seconds} seconds", survived=False)
    report = _read_report(done.stdout)
    if done.returncode < 0:
        return _Probe(False, f"ended the process with {signal_name(-done.returncode)}", survived=False)
    if not report:
        return _Probe(False, f"ended the process with status {done.returncode}", survived=False)
    if done.returncode == 0 and "answer" in report:
        return _Probe(True, str(report["answer"]), answer=report["answer"])
    last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
    return _Probe(False, report.get("error") or last[0])


def _read_report(text: str) -> dict[str, Any]:
    """Returns the report of a child process; it is empty if the process died first, or wrote anything else."""
    with contextlib.suppress(ValueError):
        report = json.loads(text)
        return report if isinstance(report, dict) else {}
    return {}


def _examine_runtime(entry: Entry[Runtime]) -> Finding:
    subject = f"runtime {entry.name}"
    reason = unavailable_reason(entry)
    if reason is not None:
        return Finding(subject, False, reason)
    probe = _probe(_BIND, entry.name, _RUNTIME_SECONDS, _settings_of(entry.name))
    return Finding(subject, probe.ok, probe.detail)


def _settings_of(runtime: str) -> str:
    """Returns a regular expression for a backend's environment variables, which begin with its name."""
    return rf"{re.escape(runtime)}_\w+"


def _examine_references(plugins: list[str]) -> Iterator[Finding]:
    """Resolves the references of all plugins in one child process; if that fails, each in a process of its own."""
    needed = [*(_settings_of(runtime.name) for runtime in available()), rf"{PREFIX}\w+"]  # the plugins' own, too
    probe = _probe(_RESOLVE, json.dumps(plugins), _RUNTIME_SECONDS, *needed)
    if not probe.ok and len(plugins) > 1:
        for plugin in plugins:
            yield from _examine_references([plugin])
        return
    if not probe.ok:
        yield from (Finding(f"code of {plugin}", probe.ok, probe.detail) for plugin in plugins)
        return
    for plugin in plugins:
        problems = probe.answer.get(plugin)
        yield Finding(f"code of {plugin}", not problems, "; ".join(problems or ["all references can be imported"]))


def _examine_strategies(names: list[str]) -> Iterator[Finding]:
    """Checks all LoRA strategies in one child process; if that fails, each in a process of its own."""
    needed = [_settings_of(runtime.name) for runtime in available()]
    probe = _probe(_TRY_STRATEGIES, json.dumps(names), _RUNTIME_SECONDS, *needed)
    if not probe.ok and len(names) > 1:
        for name in names:
            yield from _examine_strategies([name])
        return
    if not probe.ok:
        yield Finding(f"LoRA strategy {names[0]}", probe.ok, probe.detail)
        return
    for name in names:
        problem = probe.answer["problems"].get(name)
        passed = f"a new adapter and merging leave the outputs unchanged, on {probe.answer['runtime']}"
        yield Finding(f"LoRA strategy {name}", problem is None, problem or passed)
