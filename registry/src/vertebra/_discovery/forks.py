"""Plugins that end the process: the program goes on in a fork, and again without a plugin that ends the fork."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import threading
import time

from vertebra._configuration.child_process import signal_name
from vertebra._discovery.plugin import fatal, observers

_MOST_BYTES = 1000
"""Longest name of a module that is told from a fork."""
_PAUSE = 0.005
"""Seconds between two looks at a fork that has a time limit."""


def go_on_in_fork(seconds: float | None = None) -> int | None:
    """Forks, and returns None in the fork, in which the program goes on; in the parent, waits for its end.

    If the fork ends while the code of a plugin runs, or takes too long for it, the parent records the plugin in
    `fatal`, by which this process and its next forks quarantine it, and forks again. The parent must have called no
    plugin before. Where the system does not fork well, there is no fork: the function returns None at once.

    Args:
        seconds: Time limit of a fork, or None.

    Returns:
        The exit status of the last fork, as a shell shows it.
    """
    if not can_fork():
        return None
    running = mmap.mmap(-1, _MOST_BYTES)  # which forks share with the parent

    def tell(module: str) -> None:
        running[:] = module.encode("utf-8", "surrogateescape")[:_MOST_BYTES].ljust(_MOST_BYTES, b"\0")

    observers.append(tell)
    while True:
        tell("")
        child = _fork()
        if child is None:
            return None
        status, problem = _wait(child, seconds)
        module = running[:].rstrip(b"\0").decode("utf-8", "surrogateescape")
        if not module or not problem or module in fatal:
            observers.remove(tell)
            running.close()
            return status
        fatal[module] = problem


def can_fork() -> bool:
    """Returns whether this process can fork: on macOS, system libraries fail in forks, and no thread survives one."""
    return hasattr(os, "fork") and sys.platform != "darwin" and threading.active_count() == 1


def _fork() -> int | None:
    """Returns the process id of a fork, or None in the fork."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # otherwise both would write the buffered output
    return os.fork() or None


def _wait(child: int, seconds: float | None) -> tuple[int, str]:
    """Returns the exit status of a fork, and how it ended, or nothing if this process got a signal that ends both."""
    passed_on: list[int] = []

    def pass_on(number: int, _: object) -> None:
        passed_on.append(number)
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        # the terminal sends SIGINT to both, and the fork tells the user
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else pass_on)
    try:
        status = _status(child, seconds)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set by Python
    if status is None:
        return 1, f"it did not finish in {seconds:g} seconds"
    ending = signal_name(-status) if status < 0 else f"status {status}"
    return 128 - status if status < 0 else status, "" if passed_on else f"it ended the process with {ending}"


def _status(child: int, seconds: float | None) -> int | None:
    """Returns the exit status of a fork, negative for a signal; None for one that was killed at the time limit."""
    if seconds is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_PAUSE)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
