"""Connects to a Ray cluster, or starts Ray on this machine; no address makes it wait for long."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from vertebra.errors import exception_text
from vertebra_ray.errors import RayError

_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_CONNECT_SECONDS, _HEALTH_SECONDS = 5, 30
"""The most that a connection, and the answer of Ray to its own health check, may take."""
_OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory of a local Ray: some windows of texts and of answers."""
_START = "Start one with: ray start --head; or pass --ray local, which starts one for the run"


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects to Ray; the end of the context ends the connection, and a Ray that was started for it.

    A process that uses Ray already keeps its connection.

    Args:
        address: `local`, `auto` or `HOST:PORT`.

    Raises:
        RayError: there is no Ray at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        _connect(ray, address)
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    if address == "local":
        _start(ray)
    elif address == "auto":
        try:
            _init(ray, address="auto")
        except ConnectionError:
            print("No Ray is running: starting one on this machine", file=sys.stderr, flush=True)
            _start(ray)
    else:
        _require_ray(address)
        try:
            _init(ray, address=address)
        except ConnectionError as error:
            raise RayError(f"there is no Ray at {address} ({exception_text(error)})", _START) from error


def _start(ray: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a command reports no usage
    with contextlib.suppress(ValueError):
        _init(ray, address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE)
        return
    raise RayError("Ray cannot start on this machine", "Free memory, or connect to a running Ray with --ray HOST:PORT")


def _init(ray: Any, **options: Any) -> None:
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, ValueError):
        raise
    except Exception as error:
        problem = f"Ray cannot be used ({exception_text(error)})"
        remedy = "Install the version of Ray and of Python that the cluster has, or pass --ray local"
        raise RayError(problem, remedy) from error


def _require_ray(address: str) -> None:
    """Checks that Ray answers at an address, as `ray.init` waits for minutes where none does.

    Raises:
        RayError: it does not, or the address is not of the form `HOST:PORT`.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        remedy = "Pass local, auto, or the HOST:PORT that `ray start --head` prints, such as 10.0.0.1:6379"
        raise RayError(f"--ray {address!r} is no address of a Ray cluster", remedy)
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), _CONNECT_SECONDS).close()
    except OSError as error:
        raise RayError(f"there is no Ray at {address} ({error.strerror or error})", _START) from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        status = subprocess.run(command, capture_output=True, timeout=_HEALTH_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        status = None
    if status != 0:
        raise RayError(f"what answers at {address} is not the head of a Ray cluster", _START)
