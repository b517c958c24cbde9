"""What is released: sdists and wheels of all distributions, installed, upgraded and uninstalled from a local index."""

import email
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT / "registry", *sorted((ROOT / "plugins").iterdir()), *sorted((ROOT / "adapters").iterdir())]
FOLDERS = [folder for folder in FOLDERS if (folder / "pyproject.toml").is_file()]
VERSION = (ROOT / "VERSION").read_text().strip()
UV = Path(sys.executable).with_name("uv")
BUILD = """
import os, sys
from hatchling.build import build_sdist, build_wheel

output = sys.argv[1]
for folder in sys.argv[2:]:
    os.chdir(folder)
    sdist = build_sdist(output)
    os.system(f"tar xzf {output}/{sdist} -C {output}")
    os.chdir(f"{output}/{sdist.removesuffix('.tar.gz')}")
    build_wheel(output)
"""


def built(folders, output):
    """Builds the sdist of each folder, and from it the wheel, as pip does without a wheel."""
    pytest.importorskip("hatchling", reason="hatchling builds the distributions")
    output.mkdir()
    subprocess.run([sys.executable, "-c", BUILD, output, *folders], check=True, capture_output=True, timeout=300)
    return output


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the sdist and the wheel of each distribution."""
    return built(FOLDERS, tmp_path_factory.mktemp("release") / "dist")


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def metadata(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(file.read(name))


def test_the_version_is_in_one_file(dist):
    wheels = list(dist.glob("*.whl"))
    assert len(wheels) == len(FOLDERS)
    assert {metadata(wheel)["Version"] for wheel in wheels} == {VERSION}


def test_plugins_need_a_core_of_this_minor_version(dist):
    major, minor = map(int, VERSION.split(".")[:2])
    allowed = f">={major}.{minor},<{major}.{minor + 1}"
    for wheel in dist.glob("*.whl"):
        for need in metadata(wheel).get_all("Requires-Dist", []):
            found = re.fullmatch(r"vertebra(?:\[\w+\])?([<>=,.\d]+)", need.split(";")[0].replace(" ", ""))
            assert found is None or set(found[1].split(",")) == set(allowed.split(",")), f"{wheel.name}: {need}"


def test_a_wheel_has_its_code_licence_and_types_and_no_more(dist):
    for folder in FOLDERS:
        (package,) = [path for path in (folder / "src").iterdir() if (path / "__init__.py").is_file()]
        (wheel,) = dist.glob(f"{project(folder)['name'].replace('-', '_')}-{VERSION}-*.whl")
        with zipfile.ZipFile(wheel) as file:
            names = {entry for entry in file.namelist() if "dist-info/" not in entry}
            assert any(entry.endswith("licenses/LICENSE") for entry in file.namelist()), wheel.name
        kept = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert names == {path.relative_to(folder / "src").as_posix() for path in kept}, wheel.name
        assert f"{package.name}/py.typed" in names, wheel.name
        assert metadata(wheel).get_payload().startswith("# "), f"{wheel.name} has no description"


def test_an_sdist_has_no_more_than_its_folder(dist):
    for sdist in dist.glob("*.tar.gz"):
        with tarfile.open(sdist) as file:
            names = {name.partition("/")[2] for name in file.getnames()}
        tops = {name.partition("/")[0] for name in names}
        assert tops <= {"src", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}, sdist.name


def test_licences_are_the_same():
    text = (ROOT / "LICENSE").read_bytes()
    assert [folder.name for folder in FOLDERS if (folder / "LICENSE").read_bytes() != text] == []


# === Installed ===


def uv(*arguments):
    done = subprocess.run([UV, "-q", *map(str, arguments)], capture_output=True, text=True, timeout=600)
    if done.returncode and re.search(r"(?i)connect|resolve host|network|timed out|dns", done.stderr):
        pytest.skip(f"the index of third-party packages cannot be reached: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(dist, tmp_path_factory):
    """A fresh environment with `vertebra[bert,torch,hf]`, installed from the local wheels."""
    if not UV.is_file():
        pytest.skip("uv is not installed next to this Python; make setup installs it")
    folder = tmp_path_factory.mktemp("installed") / "venv"
    uv("venv", "--python", sys.executable, folder)
    install(folder, dist, "vertebra[bert,torch,hf]")
    return folder


def install(environment, dist, *requirements):
    python = environment / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    links = ("--link-mode", "symlink")  # to uv's cache: torch alone has 15,000 files
    uv("pip", "install", *links, "--python", python, "--find-links", dist, "-c", constraints, *requirements)


def vertebra(environment, *arguments):
    command = [environment / "bin" / "vertebra", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=environment)


def plugins(environment):
    done = vertebra(environment, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_extras_install_what_they_name(environment):
    assert vertebra(environment, "--version").stdout.strip() == f"vertebra {VERSION}"
    assert {"bert", "torch", "hf"} <= plugins(environment).keys()
    assert not {"gpt2", "jax", "kaggle", "s3", "text"} & plugins(environment).keys()
    assert vertebra(environment, "presets", "bert").stdout.count("\n") > 5


def test_upgrades_and_removed_plugins_leave_the_others_working(environment, dist, tmp_path):
    shutil.copytree(ROOT / "registry", tmp_path / "registry", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "plugins" / "bert", tmp_path / "plugins" / "bert")
    (tmp_path / "VERSION").write_text(f"{VERSION}.post1\n")
    newer = built([tmp_path / "registry", tmp_path / "plugins" / "bert"], tmp_path / "dist")
    install(environment, newer, "--upgrade-package", "vertebra", "--upgrade-package", "vertebra-bert", "vertebra-bert")
    assert vertebra(environment, "--version").stdout.strip() == f"vertebra {VERSION}.post1"
    assert plugins(environment)["bert"]["version"] == f"{VERSION}.post1"
    uv("pip", "uninstall", "--python", environment / "bin" / "python", "vertebra-bert")
    assert "bert" not in plugins(environment)
    done = vertebra(environment, "inspect", "bert_base_en")
    assert done.returncode != 0
    assert 'pip install "vertebra[bert]"' in done.stderr.replace("'", '"'), done.stderr
