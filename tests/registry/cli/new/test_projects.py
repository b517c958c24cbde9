"""Wheels of new projects work in a fresh environment: their own tests pass on each runtime, all installed together."""

import os
import re
import subprocess
import sys
import sysconfig
import venv

import pytest

from .conftest import PROJECTS

pytestmark = pytest.mark.keras

ON_TORCH = [name for name in PROJECTS if name != "zoo-numpy"]
ON_JAX = ["zoo-llama", "zoo-configs", "zoo-presets", "zoo-score"]
"""Those whose tests have a part that each runtime computes, without the strategy, whose suite takes 20 s on jax."""


@pytest.fixture(scope="module")
def environment(projects, tmp_path_factory):
    """The interpreter of a new environment with the wheels of all projects, and with the packages of this one."""
    wheels = projects / "wheels"
    for name in PROJECTS:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(build, cwd=projects / name, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    (site,) = folder.glob("**/site-packages")
    packages = sysconfig.get_path("purelib")
    (site / "of_the_workspace.pth").write_text(f"import site; site.addsitedir({packages!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, *map(str, sorted(wheels.iterdir()))], check=True, capture_output=True)
    return python


@pytest.fixture
def run_tests(environment, projects, runtime):
    """Returns a function that runs the tests of some projects as their authors do; returns the closing line."""

    def run(names, backend=runtime, **variables):
        chosen = {"VERTEBRA_RUNTIME": backend, "KERAS_BACKEND": backend, **variables}
        command = [str(environment), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *names]
        done = subprocess.run(command, env=os.environ | chosen, cwd=projects, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[-1]

    return run


def test_all_plugins_are_used(environment):
    listed = subprocess.run(
        [str(environment), "-m", "vertebra.cli", "plugins"], check=True, capture_output=True, text=True
    )
    for name in PROJECTS:
        assert re.search(rf"^{name} +{name} +0\.1\.0 +loaded", listed.stdout, flags=re.MULTILINE), name
    assert listed.stderr == ""


def test_their_own_tests_pass(run_tests, runtime):
    """The runtime for NumPy takes no part, so that BB-17 computes on two runtimes, and not on three."""
    closing = run_tests(ON_TORCH if runtime == "torch" else ON_JAX, VERTEBRA_BLOCK="zoo-numpy")
    assert int(re.search(r"(\d+) passed", closing)[1]) > (140 if runtime == "torch" else 40)


@pytest.mark.keras(once=True)
def test_the_tests_of_a_runtime_pass_on_its_backend(run_tests):
    closing = run_tests(["zoo-numpy"], backend="numpy")
    assert int(re.search(r"(\d+) passed", closing)[1]) > 10


@pytest.mark.keras(once=True)
def test_types_are_right(environment, projects):
    """mypy, strict, as the metadata of a project says."""
    folders = [str(projects / name / part) for name in PROJECTS for part in ("src", "tests")]
    config = ["--config-file", str(projects / "zoo-llama" / "pyproject.toml"), "--no-incremental"]
    command = [str(environment), "-m", "mypy", *config, *folders]
    done = subprocess.run(command, cwd=projects, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
