"""The architecture of the tutorial passes its suite; tests/peers compares it with transformers."""

import importlib
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

import vertebra
from pages import files
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
    """The package, added as a plugin."""
    sys.path.insert(0, FOLDER.name)
    package = importlib.import_module("acme_llama")
    vertebra.add_plugin(package, "acme-llama")
    yield package
    vertebra.remove_plugin("acme-llama")
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
