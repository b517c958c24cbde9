"""Forks whose system calls strace makes fail, or the last that they make.

They have imported everything, so that strace sees the calls of one function only.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterator

LONGEST = 60
"""Seconds after which a fork counts as hanging, and is ended by SIGALRM."""
_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)


def let_others_trace() -> None:
    """Lets processes that are no parents of this one trace it."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)


@contextlib.contextmanager
def watching(process: int, calls: str, fault: str, log: str = os.devnull) -> Iterator[None]:
    """Has strace look at a process.

    Args:
        process: its id.
        calls: which calls, as strace has it.
        fault: what happens to them, such as `error=EIO:when=3`, or nothing; each thread counts for itself.
        log: the file that strace writes the calls to.
    """
    options = ["-f", "-o", log, "-e", f"trace={calls}"]
    options += ["-e", f"inject={calls}:{fault}"] if fault else []
    tracer = subprocess.Popen(["strace", *options, "-p", str(process)], stderr=subprocess.PIPE, text=True)
    said = tracer.stderr.readline()
    if "attached" not in said:
        os.kill(process, signal.SIGKILL)
        raise RuntimeError(said)
    yield
    tracer.communicate()


def status_of(function: Callable[[], int], calls: str, fault: str) -> int:
    """Returns the exit status of a fork in which a function runs, and what it returns is the status."""
    (awaited, begin_now), (ready, told) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        status = 255
        try:
            os.close(begin_now)
            signal.alarm(LONGEST)
            let_others_trace()
            os.close(told)
            os.readv(awaited, [bytearray(1)])  # a call that is never made to fail
            status = function()
        finally:
            os._exit(status)
    os.close(awaited)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    with watching(child, calls, fault):
        os.close(begin_now)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
