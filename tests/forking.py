"""Python programs in processes forked from one that has imported their modules, which takes most of their time.

    with ForkServer("vertebra.cli") as server:
        done = server.run(["-m", "vertebra.cli", "presets"], cwd=folder, env=environment)

`run` is `subprocess.run` for the arguments of a Python interpreter. A fork is a process of its own, with its own
environment, working directory, streams and limits, and it ends as any interpreter does. All forks share the options of
the interpreter, and variables that it or a module reads once: tests of those start an interpreter.
"""

import atexit
import contextlib
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Self

_MOST_FDS = 253  # that Linux passes in one message

# === The side of the tests ===


class ForkServer:
    """A process that has imported modules, and is forked for each run.

    Args:
        modules: what it imports.
        options: of its interpreter, such as `-I`.
        search: folders to import from, for an interpreter whose options leave them out.
        environment: its variables; those of this process if not given.
    """

    def __init__(
        self,
        *modules: str,
        options: Sequence[str] = (),
        search: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._start = [sys.executable, *options, __file__]
        self._imports = json.dumps({"modules": modules, "search": search})
        self._environment = environment

    def __enter__(self) -> Self:
        self._socket, other = socket.socketpair()
        with other:
            command = [*self._start, str(other.fileno()), self._imports]
            self._process = subprocess.Popen(
                command, env=self._environment, pass_fds=[other.fileno()], start_new_session=True
            )
        self._answers = self._socket.makefile("rb", buffering=0)  # for select, nothing may be read ahead
        return self

    def __exit__(self, *_: Any) -> None:
        self._answers.close()
        self._socket.close()
        self._process.wait()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        pass_fds: Sequence[int] = (),
        timeout: float | None = None,
        text: bool = False,
    ) -> subprocess.CompletedProcess:
        """Runs a program; streams that are not given are empty, or captured.

        Raises:
            subprocess.TimeoutExpired: the program has been killed.
        """
        job = {"arguments": [*map(os.fspath, arguments)], "env": dict(os.environ if env is None else env)}
        job |= {"cwd": os.getcwd() if cwd is None else os.fspath(cwd), "fds": [*pass_fds]}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            given = (stdin or nothing, stdout or out, stderr or err)
            status = self._run(job, [stream.fileno() for stream in given], timeout)
            captured = [self._content(file, text) for file in (out, err)]
        return subprocess.CompletedProcess(job["arguments"], status, *captured)

    def _run(self, job: dict[str, Any], streams: list[int], timeout: float | None) -> int:
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(job).encode())
            file.seek(0)
            socket.send_fds(self._socket, [b"j"], [file.fileno(), *streams, *job["fds"]])
            child = int(self._answers.readline())
            ended = select.select([self._socket], [], [], timeout)[0]
            if not ended:
                os.kill(child, signal.SIGKILL)
            status = int(self._answers.readline())
        if not ended:
            raise subprocess.TimeoutExpired(job["arguments"], timeout)
        return status

    @staticmethod
    def _content(file: Any, text: bool) -> Any:
        file.seek(0)
        content = file.read()
        return content.decode() if text else content


class ForkedReaders:
    """`subprocess` for the programs that read HDF5 files and pickles: they run in forks, once the first has begun."""

    def __init__(self) -> None:
        self.opened = contextlib.ExitStack()
        self._server: ForkServer | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def seconds(self) -> float:
        """Returns the processor time that all readers so far have taken, on Linux."""
        if self._server is None or sys.platform != "linux":
            return 0.0
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # of children that have ended

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess:
        """Runs a reader as `subprocess.run` does."""
        _, *interpreter, program, job = command
        if self._server is None:
            environment = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
            search = json.loads(job)["search"]
            server = ForkServer("h5py", options=interpreter, search=search, environment=environment)
            self._server = self.opened.enter_context(server)
        return self._server.run([program, job], **options)


@contextlib.contextmanager
def fork_readers() -> Iterator[None]:
    """Has this process run each reader in a fork of a process that has imported h5py."""
    from vertebra._weights.reader import process

    readers = ForkedReaders()
    before, process.subprocess = process.subprocess, readers
    try:
        with readers.opened:
            yield
    finally:
        process.subprocess = before


# === The process that is forked ===


def serve(requests: socket.socket) -> dict[str, Any]:
    """Forks for each request, and tells the fork's id and its exit status; returns in a fork, with the job."""
    while True:
        message, fds, *_ = socket.recv_fds(requests, 1, _MOST_FDS)
        if not message:
            os._exit(0)
        child = os.fork()
        if not child:
            requests.close()
            return adopt(fds)
        for fd in fds:
            os.close(fd)
        requests.sendall(b"%d\n" % child)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        requests.sendall(b"%d\n" % status)


def adopt(fds: list[int]) -> dict[str, Any]:
    """Gives this process the streams, descriptors, folder and variables of its job."""
    with os.fdopen(fds[0], "rb") as file:
        job: dict[str, Any] = json.loads(file.read())
    wanted = [0, 1, 2, *job["fds"]]
    apart = max(*wanted, *fds) + 1  # so that no descriptor overwrites one that is still to be moved
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, apart) for fd in fds[1:]]
    for fd in fds[1:]:
        os.close(fd)
    for source, target in zip(moved, wanted, strict=True):
        os.dup2(source, target)
        os.close(source)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    open_streams()
    return job


def open_streams() -> None:
    """Opens the standard streams as an interpreter does at its start."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    for fd, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        of_errors = name == "stderr"
        handler = "backslashreplace" if of_errors else errors or "strict"
        options = {"encoding": encoding or None, "errors": handler, "buffering": 1 if of_errors else -1}
        stream = open(fd, mode, closefd=False, **options)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def run(arguments: list[str]) -> None:
    """Runs a program as an interpreter does that is given these arguments."""
    if not sys.flags.ignore_environment:
        sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    kind, program, *others = arguments if arguments[0] in ("-m", "-c") else ("", *arguments)
    sys.argv = [kind or program, *others]
    if kind == "-m":
        sys.path[:0] = [] if sys.flags.safe_path else [os.getcwd()]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path[:0] = [] if sys.flags.safe_path else [""]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(program, run_name="__main__")


def end_after(arguments: list[str]) -> NoReturn:
    """Runs a program and ends this process as an interpreter does, but for freeing what the fork has inherited."""
    status = 0
    try:
        run(arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if not isinstance(stop.code, int | None):
            print(stop.code, file=sys.stderr)
    except BaseException:
        status = 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            if not stream.closed:
                stream.flush()
        except OSError:
            status = 120
    os._exit(status)


def main() -> NoReturn:
    """Imports modules and serves; in a fork, runs its program."""
    requests, imports = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    sys.path[: 0 if sys.flags.safe_path else 1] = imports["search"]  # in place of the folder of this module
    for module in imports["modules"]:
        import_module(module)
    gc.freeze()  # else a fork's collector would copy the memory that it shares
    end_after(serve(requests)["arguments"])


if __name__ == "__main__":
    main()
