"""JAX after a fork, which does not copy its threads: a computation would wait for them for ever, and is an error."""

from __future__ import annotations

import os

from vertebra.errors import ForkedProcessError

_is_used = False
"""Whether this process has used JAX through a backbone, so that JAX has started its threads."""
_is_forked = False
"""Whether this process was forked from one that had used JAX."""


def require_threads() -> None:
    """Notes that JAX is being used.

    Raises:
        ForkedProcessError: this process was forked from one that had used JAX.
    """
    global _is_used
    check_process()
    _is_used = True


def check_process() -> None:
    """Raises ForkedProcessError in a process that was forked from one that had used JAX."""
    if _is_forked:
        raise ForkedProcessError("JAX")


def _after_fork() -> None:
    global _is_forked
    _is_forked = _is_forked or _is_used


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
