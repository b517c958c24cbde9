"""What several tests of faults need."""

import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def mounted(tmp_path):
    """Starts a command in a namespace where `site` is a file system of 1 MB of its own."""
    (tmp_path / "site").mkdir()
    start = ("unshare", "--user", "--map-root-user", "--mount")
    if sys.platform != "linux" or subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a mount namespace (unshare)")
    mount = f"mount -t tmpfs -o size=1m tmpfs '{tmp_path}/site' && exec \"$@\""
    return (*start, "sh", "-c", mount, "sh")


@pytest.fixture(scope="session")
def strace():
    """Skips the tests where calls cannot be made to fail."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trial = ["strace", "-o", os.devnull, "-e", "inject=unlink:error=EIO:when=1", "true"]
    if subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("this machine does not let us trace processes (ptrace), or its strace cannot inject errors")
