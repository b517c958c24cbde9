"""A plugin: its owner, its state, and its quarantine."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from vertebra import hookspecs
from vertebra._discovery.failures import describe_failure
from vertebra.errors import PluginError, VertebraError, printable
from vertebra.errors.base import ended

BUILTIN = "vertebra.builtin.plugin"
"""The module of the core's own plugin."""
_PATIENCE = 3.0
"""Seconds after which a plugin whose code is running is named."""
_running: list[tuple[str, float]] = []
"""The plugins whose code is running, each with the action for messages and the time of its start."""
fatal: dict[str, str] = {}
"""The modules of plugins that ended a process, each with how: these are not imported in this process."""
observers: list[Callable[[str], object]] = []
"""Called with the module of the plugin whose code begins, or goes on, to run, and with an empty text at the end."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The distribution and module that a plugin comes from."""

    distribution: str
    version: str
    module: str

    def matches(self, pattern: str) -> bool:
        """Returns whether a name or glob matches this distribution, or is its module. `Acme_Tools` is `acme-tools`."""
        return self.module == pattern or fnmatchcase(_canonical(self.distribution), _canonical(pattern))

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.module})".replace("  ", " ")


@dataclass(slots=True)
class Plugin:
    """An installed plugin, and its state."""

    name: str
    owner: Owner
    status: str = "loaded"
    """`loaded`, `failed`, `blocked` or `incompatible`."""
    reason: str = ""
    """Why it is not loaded."""
    imported: frozenset[str] = frozenset()
    """Top-level modules that the import of its entry module imported, such as a framework."""
    added: bool = False
    """Whether it was added to this process, and is not installed."""
    problems: list[str] = field(default_factory=list)
    """The rules that it breaks although it is used."""
    hooks: list[str] = field(default_factory=list)
    implementations: dict[str, Callable[..., Any]] = field(default_factory=dict, repr=False)

    def matches(self, pattern: str) -> bool:
        """Returns whether a name or glob of the settings matches this plugin, by its name, distribution or module."""
        return fnmatchcase(self.name, pattern) or self.owner.matches(pattern)

    def report(self, problem: str) -> None:
        """Records a rule that this plugin breaks although it is used."""
        if problem not in self.problems:
            self.problems.append(problem)

    def quarantine(self, reason: str) -> None:
        """Removes all contributions of this plugin except its policy hooks."""
        self.status, self.reason = "failed", reason
        self.implementations = {n: hook for n, hook in self.implementations.items() if n in hookspecs.POLICY_HOOKS}
        self.hooks = sorted(self.implementations)


@contextlib.contextmanager
def quarantine_on_error(plugin: Plugin, action: str) -> Iterator[None]:
    """Runs a plugin's code: its output goes to stderr, and if it raises, only this plugin is quarantined.

    Args:
        plugin: The plugin.
        action: The action, for messages, such as `importing`.
    """
    words = f"{action} plugin {plugin.name} of {plugin.owner.distribution}"
    running = (words, time.monotonic())
    _running.append(running)
    interrupts: list[int] = []
    try:
        with contextlib.redirect_stdout(sys.stderr), observed(plugin.owner.module), _noting_interrupts(interrupts):
            yield
    except KeyboardInterrupt as interrupt:
        if interrupts:
            interrupt.add_note(f"while {words}")
            raise
        distribution = None if plugin.added else plugin.owner.distribution
        plugin.quarantine(describe_failure(plugin.owner.module, distribution, interrupt))
    except PluginError as error:
        plugin.quarantine(f"{ended(error.problem)} {ended(error.remedy)}" if error.remedy else error.problem)
    except VertebraError as error:
        plugin.quarantine(str(error))
    except BaseException as error:  # SystemExit, too: a plugin must not end the process
        distribution = None if plugin.added else plugin.owner.distribution
        plugin.quarantine(describe_failure(plugin.owner.module, distribution, error))
    finally:
        _running.remove(running)  # another thread may have added one


@contextlib.contextmanager
def observed(module: str) -> Iterator[None]:
    """Tells the observers that the code of a plugin with this entry module runs during the block."""
    for observe in observers:
        observe(module)
    try:
        yield
    finally:
        for observe in observers:
            observe("")


@contextlib.contextmanager
def _noting_interrupts(interrupts: list[int]) -> Iterator[None]:
    """Appends each SIGINT to a list: a plugin that raises KeyboardInterrupt itself has failed like any other.

    Where the program has a handler of its own, any KeyboardInterrupt counts as one of the user; where the process
    ignores the signal, as one in the background of a shell does, none.
    """

    def note(number: int, frame: Any) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()  # which handles signals
    if not in_main or handler in (signal.SIG_IGN, signal.SIG_DFL):
        yield
        return
    if handler is not signal.default_int_handler:
        interrupts.append(0)
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def naming_slow_plugins() -> Iterator[None]:
    """Writes to stderr which plugin's code is running if it takes more than 3 seconds, until the block ends."""
    done = threading.Event()
    thread = threading.Thread(target=_name_slow_plugins, args=(done,), daemon=True)
    with contextlib.suppress(RuntimeError):  # some builds of Python have no threads
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread.ident is not None:
            thread.join()  # a program that forks now must have no other thread


def _name_slow_plugins(done: threading.Event) -> None:
    named = None
    while not done.wait(_PATIENCE / 6):
        running = _running[-1:]
        if running and running != named and time.monotonic() - running[0][1] > _PATIENCE:
            sys.stderr.write(f"{printable(running[0][0])} ...\n")
            named = running


def _canonical(name: str) -> str:
    """Returns the normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()
