"""The extras of the core, by the names that users ask for."""

import importlib
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import vertebra
from vertebra._discovery import catalog, extras, runtimes
from vertebra._discovery.extras import handle_to_install, install_command
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
def test_a_lora_strategy_names_its_extra_or_the_one_with_more_of_them(request, capsys):
    with pytest.raises(UnknownNameError, match=r"Install it with: pip install 'vertebra\[lora-variants\]'") as caught:
        catalog.catalog(catalog.STRATEGIES).lookup("dora")
    assert "Did you mean" not in str(caught.value)  # lora is another strategy
    with pytest.raises(UnknownNameError, match=r"More of them are installed with: pip install 'vertebra\[lora-v"):
        catalog.catalog(catalog.STRATEGIES).lookup("lorra")
    assert main(["lora", "info", str(request.path.parents[2] / "golden" / "bert" / "peft_dora")]) == 1
    assert "vertebra-lora-variants (pip install 'vertebra[lora-variants]')" in capsys.readouterr().err


# === Names that the name of the extra does not tell ===

EXTRAS = json.loads(extras._NAMES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", [catalog.TASKS, catalog.STRATEGIES, catalog.SOURCES], ids=lambda kind: kind.title)
def test_the_known_names_are_those_of_the_plugins(kind):
    plugins = {entry.name: entry.plugin for entry in catalog.catalog(kind) if entry.plugin != "builtin"}
    assert EXTRAS["names"][kind.title] == plugins


@pytest.mark.parametrize("suffix", EXTRAS["replacements"])
def test_a_replacement_is_a_class_of_its_extra(suffix):
    row = EXTRAS["replacements"][suffix]
    module, _, name = row["class"].partition(".")
    assert module == f"vertebra_{row['extra']}"
    assert name in importlib.import_module(module).__all__


HANDLES = {
    "https://huggingface.co/acme/bert/tree/v2": "hf://acme/bert@v2",
    "https://hf.co/acme/bert/commit/0a1b2c/": "hf://acme/bert@0a1b2c",
    "https://huggingface.co/google-bert/bert-base-uncased": "hf://google-bert/bert-base-uncased",
    "huggingface.co/acme/bert/blob/main/config.json": "hf://acme/bert",
    "https://huggingface.co/acme/bert/tree/main?x=1": "hf://acme/bert",
    "bert-base-uncased": "hf://google-bert/bert-base-uncased",
    "gpt2-medium": "hf://openai-community/gpt2-medium",
    "google-bert/bert-base-uncased": "hf://google-bert/bert-base-uncased",
    "acme/bert@v2": "hf://acme/bert@v2",
    "https://www.kaggle.com/models/keras/bert/keras/bert_tiny_en_uncased/3": (
        "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"
    ),
    "keras/bert/keras/bert_tiny_en_uncased": "kaggle://keras/bert/keras/bert_tiny_en_uncased",
    "https://modelscope.cn/models/acme/bert/summary": "modelscope://acme/bert",
    "docker://ghcr.io/acme/bert:v1": "oci://ghcr.io/acme/bert:v1",
    "s3a://bucket/models/bert": "s3://bucket/models/bert",
    "https://s3.eu-west-1.amazonaws.com/bucket/models/bert/": "s3://bucket/models/bert",
    f"https://bucket.s3.amazonaws.com/models/bert/config.json?X-Amz-Signature={'0' * 2_000}": "s3://bucket/models/bert",
    "https://storage.googleapis.com/bucket/models/bert/model.safetensors": "gs://bucket/models/bert",
    "https://bucket.storage.googleapis.com/models/bert": "gs://bucket/models/bert",
    "https://account.blob.core.windows.net/container/models/bert/config.json?sp=r&sig=x": "az://container/models/bert",
    "https://hub.docker.com/r/acme/bert": "oci://docker.io/acme/bert",
    "ghcr.io/acme/bert:v1": "oci://ghcr.io/acme/bert:v1",
}


@pytest.mark.parametrize(("text", "handle"), HANDLES.items(), ids=[text[:80] for text in HANDLES])
def test_a_url_or_name_has_the_handle_that_its_source_would_suggest(text, handle, monkeypatch):
    scheme = handle.partition(":")[0]
    assert catalog.catalog(catalog.SOURCES).lookup(scheme).value.suggest(text) == handle
    assert handle_to_install(text) is None  # all are installed
    monkeypatch.setattr(extras, "is_installed", lambda distribution: False)
    command = install_command(scheme, catalog.SOURCES.title)
    assert handle_to_install(text) == f"Did you mean {handle!r}? Install its source with: {command}"


def test_every_pattern_has_an_example():
    rows = EXTRAS["handles"]
    addresses = [text.partition("?")[0] for text in HANDLES]
    used = {next(i for i, row in enumerate(rows) if re.fullmatch(row["pattern"], one, re.ASCII)) for one in addresses}
    assert used == set(range(len(rows)))


@pytest.mark.parametrize(
    "text",
    ["https://huggingface.co/datasets/acme/texts", "https://example.org/a/b", "./a/b", "/a/b", "a", "a/" * 9_999],
)
def test_other_texts_have_none(text, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda distribution: False)
    assert handle_to_install(text) is None


@pytest.mark.usefixtures("only_core")
@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("google-bert/bert-base-uncased", "hf://google-bert/bert-base-uncased"),
        ("https://huggingface.co/google-bert/bert-base-uncased", "hf://google-bert/bert-base-uncased"),
        ("bert-base-uncased", "hf://google-bert/bert-base-uncased"),
        ("docker://ghcr.io/acme/bert:v1", "oci://ghcr.io/acme/bert:v1"),
    ],
)
def test_the_command_names_the_handle_and_its_extra_without_the_plugin(text, handle, capsys):
    assert main(["inspect", text]) == 1
    shown, scheme = capsys.readouterr().err, handle.partition(":")[0]
    assert f"Did you mean '{handle}'? Install its source with: pip install 'vertebra[{scheme}]'." in shown
    assert "Install a plugin that reads" not in shown


# === Classes of vertebra.models ===


@pytest.mark.usefixtures("only_core")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TextClassifier", "No task is named 'TextClassifier'. Install it with: pip install 'vertebra[text]'."),
        ("BertTextClassifier", "TextClassifier is a task of vertebra-text."),
        ("TextClasifier", "Did you mean 'TextClassifier', 'TokenClassifier'?"),
        ("TextClasifier", "TextClassifier is a task of vertebra-text: pip install 'vertebra[text]'."),
        ("Tokenizer", "Use vertebra_text.Tokenizer instead, which is installed with: pip install 'vertebra[text]'."),
        ("BertTokenizer", "Use vertebra_text.Tokenizer instead"),
        ("BertMaskedLMPreprocessor", "Use vertebra_text.TextPreprocessor instead"),
        ("nonsense", "No backbone or task is named 'nonsense'."),
    ],
)
def test_an_unknown_class_names_the_extra_that_has_it(name, message):
    with pytest.raises(AttributeError) as caught:
        getattr(vertebra.models, name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BretTextClassifier", "No task is named 'BretTextClassifier'. Did you mean 'BertTextClassifier'"),
        ("BertTokenizer", "No class is named 'BertTokenizer'. Use vertebra_text.Tokenizer instead."),
        ("GemaBackbone", "No backbone is named 'GemaBackbone'. Did you mean 'GemmaBackbone'"),
        ("TextClasifier", "No backbone or task is named 'TextClasifier'. Did you mean 'TextClassifier'"),
    ],
)
def test_a_misspelled_class_has_suggestions_once(name, message, capsys):
    shown = printed(name, capsys)
    assert message in shown
    assert shown.count("Did you mean") == message.count("Did you mean")


@pytest.mark.usefixtures("only_core")
def test_python_adds_no_suggestion_to_the_command_that_installs_a_class(monkeypatch, capsys):
    monkeypatch.setattr(vertebra.models, "__dir__", lambda: ["BertBackbone"])  # as where this plugin is installed
    shown = printed("GemmaBackbone", capsys)
    assert "pip install 'vertebra[gemma]'" in shown
    assert "Did you mean" not in shown


def printed(name, capsys):
    """Returns the last line that Python prints for a missing class; it may add a suggestion."""
    with pytest.raises(AttributeError) as caught:
        getattr(vertebra.models, name)
    sys.__excepthook__(AttributeError, caught.value.with_traceback(None), None)
    return capsys.readouterr().err.strip().splitlines()[-1]
