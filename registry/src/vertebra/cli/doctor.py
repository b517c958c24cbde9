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
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from vertebra._configuration.child_process import PYTHON, environment, signal_name
from vertebra._configuration.settings import settings
from vertebra._discovery import catalog as _catalog
from vertebra._discovery.catalog import RUNTIMES, STRATEGIES, Entry, catalog
from vertebra._discovery.plugins import Plugin, examined, exclusion_reason, find_installed, registry
from vertebra._discovery.runtimes import available, unavailable_reason
from vertebra._resolve.lockfile import lockfile_path
from vertebra.cli.doctor_settings import examine_settings
from vertebra.cli.output import print_json
from vertebra.errors import SettingsError, VertebraError
from vertebra.interfaces import Runtime

_PLUGIN_SECONDS = 10
_RUNTIME_SECONDS = 120
_IMPORT = """
def attempt(module):
    import importlib
    importlib.import_module(module)
"""
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
            print(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject}: {finding.detail}", flush=True)
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
    survived = True
    for finding, plugin_survived in _probe_plugins():
        survived &= plugin_survived
        yield finding
    if not survived:
        problem = "not checked: first uninstall or block the plugin that hangs or crashes"
        yield Finding("contributions", False, problem)
        return
    problems = [Finding("settings", False, str(problem)) for problem in examined().problems("block")]
    if problems:
        yield from [*problems, Finding("contributions", False, "not checked: correct the settings first")]
        return
    try:
        yield from _examine_contributions()
    except VertebraError as error:
        yield Finding("contributions", False, str(error))
        return
    for entry in catalog(RUNTIMES):
        yield _examine_runtime(entry)
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


def _probe_plugins() -> Iterator[tuple[Finding, bool]]:
    """Imports each plugin in a child process first: a plugin that hangs or crashes must not stop the doctor.

    Yields a finding for each plugin, and whether this process can import the plugin safely.
    """
    admitted = [pair for pair in find_installed()[0] if exclusion_reason(pair[1], settings()) is None]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for (_, plugin), probe in zip(admitted, pool.map(_probe_plugin, admitted), strict=True):
            subject = f"plugin {plugin.name} of {plugin.owner.distribution}"
            yield Finding(subject, probe.ok, probe.detail), probe.survived


def _probe_plugin(pair: tuple[metadata.EntryPoint, Plugin]) -> _Probe:
    owner = pair[1].owner
    probe = _probe(_IMPORT, owner.module, _PLUGIN_SECONDS)
    if probe.ok:
        return replace(probe, detail=f"{owner.module} can be imported")
    remedy = f"uninstall or update it, or block it with VERTEBRA_BLOCK={owner.distribution}"
    return replace(probe, detail=f"{probe.detail}; {remedy}")


def _probe(code: str, argument: str, seconds: float, *needed: str) -> _Probe:
    """Runs code in a child process that imports the same modules as this one, but none from the current folder.

    Args:
        code: Source code of a function `attempt`, which takes one string and returns a value that JSON can hold.
        argument: The string.
        seconds: Time limit.
        needed: Regular expressions of environment variables that the code needs in addition to those of any plugin.
    """
    command = [sys.executable, "-P", "-c", code + _REPORT, argument]
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


def _examine_contributions() -> Iterator[Finding]:
    catalogs = {kind.plural: catalog(kind) for kind in _catalog.KINDS} | {"presets": _catalog.presets()}
    for plugin in registry().plugins:
        if plugin.status in ("failed", "incompatible"):
            yield Finding(f"plugin {plugin.name}", False, plugin.reason)
    for title, entries in catalogs.items():
        clashes = {name: " and ".join(map(str, owners)) for name, owners in entries.clashes().items()}
        for name, claims in clashes.items():
            yield Finding(
                f"{entries.kind} {name}", False, f"claimed by {claims}; set VERTEBRA_PREFER or VERTEBRA_BLOCK"
            )
        names = [entry.name for entry in entries]
        yield Finding(title, True, ", ".join(names) if len(names) < 20 else f"{len(names)} installed")


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
