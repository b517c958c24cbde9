"""The architecture of the tutorial passes its suite; tests/peers compares it with transformers."""

import importlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import pytest

import vertebra
from pages import files, page
from vertebra._configuration.settings import settings
from vertebra._discovery import catalog, plugins
from vertebra.errors import PresetConfigError

pytestmark = pytest.mark.keras(once=True)

FILES = files("tutorials/write-an-architecture.md")
FOLDER = tempfile.TemporaryDirectory(prefix="vertebra_docs_")
for name in ("__init__.py", "backbone.py"):
    path = Path(FOLDER.name, "acme_llama", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(FILES[f"acme_llama/{name}"], encoding="utf-8")
sys.path.insert(0, FOLDER.name)
exec(compile(FILES["test_acme_llama.py"], "test_acme_llama.py", "exec"))
sys.path.remove(FOLDER.name)


@pytest.fixture(scope="module", autouse=True)
def added():
    """The package, added as a plugin that is preferred to vertebra-llama, as the page says."""
    sys.path.insert(0, FOLDER.name)
    package = importlib.import_module("acme_llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERTEBRA_PREFER", "acme-llama*")  # new processes add it later
        settings.cache_clear()
        vertebra.add_plugin(package, "acme-llama")
        yield package
        vertebra.remove_plugin("acme-llama")
    settings.cache_clear()
    sys.path.remove(FOLDER.name)
    plugins.registry.cache_clear()
    catalog.clear_catalog()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_llama"]:
        del sys.modules[name]


def test_the_package_declares_the_module():
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    assert project["entry-points"]["vertebra"] == {"acme-llama": "acme_llama"}
    assert project["entry-points"]["vertebra.api"] == {str(vertebra.API_VERSION): "acme_llama"}


def test_it_has_about_the_documented_number_of_lines():
    lines = [line for name in ("__init__", "backbone") for line in FILES[f"acme_llama/{name}.py"].splitlines()]
    assert len([line for line in lines if line.strip()]) in range(150, 176)


CONFIG = {"vocab_size": 61, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
CONFIG |= {"intermediate_size": 40, "rms_norm_eps": 1e-5, "hidden_act": "silu"}


def test_configs_of_version_4_are_read(added):
    arguments = added.LlamaTranslation().arguments(CONFIG | {"rope_theta": 5e5})
    assert (arguments["wavelength"], arguments["num_key_value_heads"], arguments["head_dim"]) == (5e5, 4, 8)


@pytest.mark.parametrize(
    "field", [{"rope_parameters": {"rope_type": "llama3"}}, {"attention_bias": True}, {"hidden_act": "gelu"}]
)
def test_other_networks_are_refused_by_field(added, field):
    with pytest.raises(PresetConfigError, match=next(iter(field))):
        added.LlamaTranslation().arguments(CONFIG | field)


def test_a_written_config_names_the_class_with_the_head(added):
    translation = added.LlamaTranslation()
    for tied in (False, True):
        arguments = translation.arguments(CONFIG | {"tie_word_embeddings": tied})
        assert translation.config(arguments)["architectures"] == ["LlamaForCausalLM"]


@pytest.fixture
def installed(added, tmp_path):
    """A folder with the files of the tutorial as after its commands that install, and with a checkpoint."""
    (tmp_path / "acme_llama").mkdir()
    for name in ("acme_llama/__init__.py", "acme_llama/backbone.py", "compare.py"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    metadata = tmp_path / "acme_llama-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-llama\nVersion: 1.0\n")
    groups = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"]
    lines = [
        line for group, names in groups.items() for line in (f"[{group}]", *(f"{n} = {m}" for n, m in names.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    sizes = {"num_layers": 1, "num_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "hidden_dim": 8}
    backbone = vertebra.models.AcmeLlamaBackbone(vocabulary_size=61, intermediate_dim=12, tied=True, **sizes)
    backbone.save_to_preset(tmp_path / "checkpoint", format="transformers")
    ids = np.array([[3, 1, 2]])
    states = backbone({"token_ids": ids})
    logits = backbone.token_embedding(states, reverse=True)
    states, logits = (value.detach().cpu() if hasattr(value, "detach") else value for value in (states, logits))
    np.savez(tmp_path / "expected.npz", ids=ids, states=np.array(states), logits=np.array(logits))
    return tmp_path


def test_the_printed_commands_compare_on_each_runtime(installed):
    """The environment of a reader: only the printed command chooses the runtime."""
    (line,) = re.findall(r"^\$ (.+ compare\.py.*)$", page("tutorials/write-an-architecture.md"), flags=re.MULTILINE)
    chosen = [re.fullmatch(r"(\w+)=(\w+) python compare\.py", part).groups() for part in line.split(" && ")]
    assert [runtime for _, runtime in chosen] == ["torch", "jax"]
    kept = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "VERTEBRA_RUNTIME")}
    for name, runtime in chosen:
        run = [sys.executable, "compare.py"]
        environment = kept | {name: runtime, "PYTHONPATH": str(installed)}
        done = subprocess.run(run, cwd=installed, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert max(map(float, re.findall(r"difference (\S+)", done.stdout))) < 1e-5
        assert done.stdout.count("difference") == 2
