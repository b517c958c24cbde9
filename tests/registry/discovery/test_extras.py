"""The extras of the core, by the names that users ask for."""

import tomllib
from pathlib import Path

import pytest

import vertebra
from vertebra._discovery import catalog, extras, runtimes
from vertebra._discovery.extras import install_command
from vertebra.cli import main
from vertebra.errors import RuntimeChoiceError, UnknownNameError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def only_core(monkeypatch, configure):
    """The core without any of its plugins, as after `pip install vertebra`."""
    configure(VERTEBRA_BLOCK="*")
    monkeypatch.setattr(extras, "is_installed", lambda distribution: False)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("kaggle", "kaggle"),
        ("jax", "jax"),
        ("JAX", "jax"),
        ("BertBackbone", "bert"),
        ("GPT2Backbone", "gpt2"),
        ("bert_tiny_en_uncased", "bert"),
        ("http", None),  # extras of libraries, not of plugins
        ("testing", None),
        ("tensorflow", None),
        ("", None),
        ("bert-x; extra == 'bert'", None),
    ],
)
def test_a_name_is_that_of_an_extra_or_not(name, extra, monkeypatch):
    assert install_command(name) is None  # all are installed
    monkeypatch.setattr(extras, "is_installed", lambda distribution: False)
    assert install_command(name) == (extra and f"pip install 'vertebra[{extra}]'")


def test_a_copy_without_metadata_has_no_extras(monkeypatch):
    monkeypatch.setattr(extras, "_CORE", "no-such-distribution")
    assert install_command("kaggle") is None
    assert extras.extra_command("lora-") is None
    assert extras.runtime_commands() == []


REQUIRES = [f"vertebra-{name}; extra == '{extra}'" for name in ("rock", "sand") for extra in (name, "runtimes")]


def test_each_runtime_has_a_command_until_it_is_installed(monkeypatch):
    requires = ["rich>=13.7", "vertebra-hf; extra == 'hf'", *REQUIRES]
    monkeypatch.setattr(extras.metadata, "requires", lambda core: requires)
    monkeypatch.setattr(extras, "is_installed", lambda distribution: False)
    assert extras.runtime_commands() == ["pip install 'vertebra[rock]'", "pip install 'vertebra[sand]'"]
    monkeypatch.setattr(extras, "is_installed", lambda distribution: distribution == "vertebra-rock")
    assert extras.runtime_commands() == ["pip install 'vertebra[sand]'"]
    with pytest.raises(RuntimeChoiceError, match=r"No runtime is installed\. .*: pip install 'vertebra\[sand\]'\."):
        raise runtimes.no_choice([])
    assert runtimes.no_choice(["one", "two"]).commands == []


def test_the_extra_of_runtimes_has_each_runtime_of_the_repository():
    project = tomllib.loads((ROOT / "registry" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = sorted(f"vertebra-{path.parent.name}" for path in ROOT.glob("adapters/*/pyproject.toml"))
    assert project["optional-dependencies"]["runtimes"] == names


@pytest.mark.usefixtures("only_core")
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["inspect", "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"], "kaggle"),
        (["inspect", "hf://acme/bert"], "hf"),
        (["inspect", "bert_tiny_en_uncased"], "bert"),
    ],
)
def test_the_command_names_the_extra_to_install(words, extra, capsys):
    assert main(words) == 1
    shown = capsys.readouterr().err
    assert f"pip install 'vertebra[{extra}]'" in shown
    assert "Did you mean" not in shown


@pytest.mark.usefixtures("only_core")
def test_an_architecture_and_a_runtime_name_theirs(request, capsys):
    with pytest.raises(AttributeError, match=r"pip install 'vertebra\[gpt2\]'"):
        vertebra.models.GPT2Backbone  # noqa: B018
    with pytest.raises(UnknownNameError) as caught:
        catalog.catalog(catalog.RUNTIMES).lookup("jax")
    assert caught.value.install == "pip install 'vertebra[jax]'"
    for name in ("transformers", "kerashub"):
        assert main(["inspect", str(request.path.parents[2] / "golden" / "gemma" / name)]) == 1
        assert "with: pip install 'vertebra[gemma]'" in capsys.readouterr().err


@pytest.mark.usefixtures("only_core")
def test_a_lora_strategy_names_the_extra_with_more_of_them(request, capsys):
    with pytest.raises(
        UnknownNameError, match=r"More of them are installed with: pip install 'vertebra\[lora-variants\]'"
    ):
        catalog.catalog(catalog.STRATEGIES).lookup("dora")
    assert main(["lora", "info", str(request.path.parents[2] / "golden" / "bert" / "peft_dora")]) == 1
    assert "vertebra-lora-variants (pip install 'vertebra[lora-variants]')" in capsys.readouterr().err
