"""`Watch`: reads inputs, allows only errors of Vertebra, and compares the process before and after each input.

The tests of advisories (tests/faults) use it, too, for whole operations in place of readers.
"""

import contextlib
import importlib.util
import ipaddress
import logging
import os
import resource
import signal
import sys
import sysconfig
import tempfile
import time
import typing
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import vertebra
from fuzz.target import Read, Target
from vertebra.errors import PluginError, VertebraError

MOST_SECONDS = 2.0
"""Processor time that an input may take."""
MOST_MEMORY = 200 * 2**20
"""Bytes by which the process may grow while it reads inputs."""
MOST_OPEN = 32
"""Descriptors that the pools of clients may hold."""
_LAZY = {"difflib", "encodings", "platformdirs", "pwd", "re2", "tomllib"}
"""Packages that Vertebra imports when it needs them, and the encodings that JSON may have; no input names them."""
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.utime",
)
_STARTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.kill",
    "ctypes.dlopen",
)
_CODE = ("compile", "pickle.find_class", "code.__new__")
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")
_NETWORK = (*_LOOKUPS, "socket.connect", "socket.bind", "socket.sendto")
_READABLE = tuple(
    str(Path(path)) for path in {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, *filter(None, sys.path)}
)
_OF_SYSTEM = ("/dev/urandom", "/proc/self/status", "/proc/sys/kernel/random/boot_id")
_STRUCTURES = str(Path(vertebra.__file__).parent / "_keras" / "structures" / "rebuilding.py")
"""The module that reads pickles which this process has made of the layers that it built."""
_JINJA = (os.path.dirname(jinja.origin),) if (jinja := importlib.util.find_spec("jinja2")) else ()  # noqa: PTH120
"""The folder of the template engine."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_watching: "Watch | None" = None


class FoundError(AssertionError):
    """An input did more than to be read or refused."""


class Hanging(BaseException):
    """An input took too much processor time."""


class Watch:
    """Reads inputs, and finds out what they must not do.

    Args:
        folder: The folder below which it may write.
        ports: The ports of this machine that it may connect to; None allows all of them.
        forks: Whether child processes read the inputs, which may be killed at their limits.
        children: Returns the processor time of child processes, if it counts, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Container[int] | None = (),
        forks: bool = False,
        children: Callable[[], float] = float,
    ) -> None:
        self._folder, self.ports, self._forks, self._children = str(folder), ports, forks, children
        self.outcomes: Counter[str] = Counter()
        """How many inputs were accepted, or refused by which error."""
        self.slowest = 0.0
        self.killed = 0
        """Child processes that were killed at a limit."""
        self._problems: list[str] = []
        forget_peak()
        self._memory, self._open_at_start = peak(), _count_open()

    def run(self, read: Callable[[], object], refusals: tuple[type[Exception], ...] = (VertebraError,)) -> str:
        """Calls a function that reads an input; returns `accepted`, or the name of the error that refused it.

        Args:
            read: The function.
            refusals: The errors that may refuse an input.

        Raises:
            FoundError: it changed something outside of the folder, took too much memory or time, or was refused with
                a message that can control a terminal.
            Exception: any other error.
        """
        before, started = _state(), self._time()
        self._problems.clear()
        outcome = self._outcome(read, refusals)
        seconds = self._time() - started
        self.slowest = max(self.slowest, seconds)
        self.outcomes[outcome] += 1
        self._compare(before, _state(), seconds)
        return outcome

    def _time(self) -> float:
        return time.process_time() + self._children()

    def grown(self) -> int:
        """Returns the bytes by which the process has grown at most since the watch began."""
        return peak() - self._memory

    def _outcome(self, read: Callable[[], object], refusals: tuple[type[Exception], ...]) -> str:
        try:
            with self._watched():
                read()
        except refusals as error:
            if isinstance(error, PluginError):
                raise FoundError(f"an input is blamed on a plugin: {error}") from error
            if not str(error).isprintable():
                raise FoundError(f"the message of an error controls a terminal: {str(error)!r}") from error
            return type(error).__name__
        except Hanging:
            raise FoundError(f"an input took more than {MOST_SECONDS} s of processor time") from None
        return "accepted"

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        global _watching
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of modules that are imported when needed
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        _watching = self
        try:
            yield
        finally:
            _watching = None
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.dont_write_bytecode = writes

    def _compare(self, before: Mapping[str, Any], after: Mapping[str, Any], seconds: float) -> None:
        problems = [f"it {problem}" for problem in self._problems]
        new = set() if after["modules"] == before["modules"] else set(after["modules"]) - set(before["modules"])
        foreign = {name for name in new if name.partition(".")[0] not in _LAZY and not name.startswith("vertebra")}
        problems += [f"it imported {name}" for name in sorted(foreign)]
        problems += [f"it changed {name}" for name in before if name != "modules" and before[name] != after[name]]
        if seconds > MOST_SECONDS:
            problems.append(f"it took {seconds:.1f} s of processor time")
        if self.grown() > MOST_MEMORY:
            problems.append(f"the process has grown by {self.grown() >> 20} MB")
        if _count_open() > self._open_at_start + MOST_OPEN:
            problems.append("it left files open")
        if problems:
            raise FoundError("; ".join(problems))

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Records an event of the interpreter that no input may cause."""
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if isinstance(path, str | bytes) and not self._may_open(os.fsdecode(path), bool(writes)):
                self._problems.append(f"opened {os.fsdecode(path)!r}")
        elif event in _CHANGES or event.startswith("shutil."):
            paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
            if not all(path.startswith(self._folder) or not path.startswith(os.sep) for path in paths):
                self._problems.append(f"changed {paths} ({event})")
        elif event in _NETWORK:
            address = arguments[1] if event in ("socket.connect", "socket.bind", "socket.sendto") else arguments
            if not (self._may_ask(address) or (event in _LOOKUPS and _is_numeric(address[0]))):
                self._problems.append(f"used the network ({event} {address})")
        elif event == "os.kill" and self._forks:
            self.killed += 1
        elif event in _STARTS or (event in _CODE and not _is_of_module(event)):
            self._problems.append(f"ran code ({event} {str(arguments)[:100]})")

    def _may_ask(self, address: object) -> bool:
        if not (isinstance(address, tuple) and address[0] in _LOOPBACK):
            return False
        return self.ports is None or address[1:2] == () or address[1] in self.ports

    def _may_open(self, path: str, writes: bool) -> bool:
        if path.startswith(self._folder) or path == os.devnull:
            return True
        if not path.startswith(os.sep):  # of the working folder, which is below the folder, or of an open folder
            return ".." not in path.split("/")
        return not writes and (path.startswith(_READABLE) or path in _OF_SYSTEM)


def _is_numeric(host: object) -> bool:
    """Returns whether a host is an address: no name service is asked for it."""
    try:
        ipaddress.ip_address(os.fsdecode(host) if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return True


def _is_of_module(event: str) -> bool:
    """Returns whether code is not of an input: of an imported module, of an annotation, or of the copy of a build.

    A chat template is a program by its nature: Jinja's sandbox runs it.
    """
    files = (_STRUCTURES,) if event == "pickle.find_class" else ("<frozen importlib", typing.__file__, *_JINJA)
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(files):
            return True
        frame = frame.f_back
    return False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is not None:
        _watching.see(event, arguments)


def _hang(*_: Any) -> None:
    raise Hanging


def _count_open() -> int:
    """Returns the number of open descriptors, on Linux."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208 (three times as fast)


def peak() -> int:
    """Returns the bytes that this process has taken at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Has the peak begin at the memory of now, on Linux: else, less than an earlier peak would not be seen."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _state() -> dict[str, Any]:
    """Returns what no input may change."""
    state: dict[str, Any] = {
        "the environment": os.environ._data.copy(),  # decoding all variables would take longer than most inputs
        "the working folder": os.getcwd(),
        "the folders to import from": list(sys.path),
        "the filters of warnings": list(warnings.filters),
        "the output": (id(sys.stdout), id(sys.stderr), id(sys.excepthook), id(sys.displayhook)),
        "modules": sys.modules.copy(),
    }
    return state | (_keras_state() if "keras" in sys.modules else {})


def _keras_state() -> dict[str, Any]:
    import keras
    from keras.src.backend.common import global_state

    config = keras.config
    values = (
        config.floatx(),
        config.epsilon(),
        config.image_data_format(),
        config.backend(),
        config.dtype_policy().name,
    )
    flags = (config.is_traceback_filtering_enabled(), config.is_interactive_logging_enabled())
    objects = sorted(keras.saving.get_custom_objects())
    pending = len(global_state.get_global_attribute("uninitialized_variables") or ())
    scope = global_state.get_global_attribute("stateless_scope") is not None
    return {"Keras": (*values, *flags, objects, pending, scope)}


_installed = False


def _install() -> None:
    """Adds the hook, which no process can remove again; it does nothing while no input is read."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[Path]:
    """Makes the folder of a watch; temporary files and the working folder are below it until the context ends.

    Yields the working folder.
    """
    _install()
    before = signal.signal(signal.SIGPROF, _hang)
    (folder / "temporary").mkdir(parents=True)
    (folder / "files").mkdir()
    temporary, tempfile.tempdir = tempfile.tempdir, str(folder / "temporary")
    level = logging.root.manager.disable
    try:
        logging.disable()
        with contextlib.chdir(folder / "files"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield folder / "files"
    finally:
        logging.disable(level)
        tempfile.tempdir = temporary
        signal.signal(signal.SIGPROF, before)


# === For the readers of bytes that are fuzzed ===


class InputWatch(Watch):
    """Reads inputs of one target.

    Args:
        target: The target.
        read: Its reader.
        folder: The folder below which it may write.
    """

    def __init__(self, target: Target, read: Read, folder: Path) -> None:
        super().__init__(folder, ports=None if target.asks else (), forks=target.forks)
        self._read = read

    def __call__(self, data: bytes) -> str:
        """Reads an input, as `run` does."""
        return self.run(partial(self._read, data))


@contextlib.contextmanager
def opened(target: Target, folder: Path) -> Iterator[InputWatch]:
    """Opens a target in a folder that is prepared.

    Each seed is read before the watch begins: what is imported and made at the first use does not count.
    """
    with prepared(folder) as files, target.open(files) as read:
        for seed in target.seeds():
            read(seed)
        yield InputWatch(target, read, folder)
