"""A program in a fork ends, prints and fails as in an interpreter."""

import signal
import subprocess

import pytest


@pytest.mark.parametrize(
    ("code", "status", "out", "error"),
    [
        ("print(1)", 0, "1\n", ""),
        ("import sys; sys.exit(3)", 3, "", ""),
        ("import sys; sys.exit('reason')", 1, "", "reason\n"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, "", ""),
        ("import atexit; atexit.register(print, 'last')", 0, "last\n", ""),
        ("import sys; print(sys.argv, __name__)", 0, "['-c', 'x'] __main__\n", ""),
    ],
)
def test_a_program_ends_as_in_an_interpreter(python, code, status, out, error):
    done = python(["-c", code, *(["x"] if "argv" in code else [])], text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, error)


def test_an_error_is_shown(python):
    done = python(["-c", "1/0"], text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


def test_a_program_has_its_folder_and_variables(python, tmp_path):
    (tmp_path / "mine.py").write_text("number = 7")
    code = "import mine, os; print(mine.number, os.getcwd(), sorted(os.environ))"
    done = python(["-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, text=True)
    assert done.stdout == f"7 {tmp_path} ['PYTHONPATH']\n"


def test_a_program_that_takes_too_long_is_killed_and_the_next_one_runs(python):
    with pytest.raises(subprocess.TimeoutExpired):
        python(["-c", "import time; time.sleep(60)"], timeout=0.1)
    assert python(["-c", "print(2)"], text=True).stdout == "2\n"
