"""`vertebra schema`, and real outputs and files against the schemas; `test_outputs` has those with a framework."""

import argparse
import json
import logging
import shutil
import warnings
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from checked_json import check
from vertebra._discovery import catalog
from vertebra.cli import main
from vertebra.cli.controls.command import build_parser
from vertebra.schemas import read_schema, schema_names

ROOT = Path(__file__).parents[4]
BERT = ROOT / "tests" / "golden" / "bert"
DEMO = ROOT / "plugins" / "bert" / "src" / "vertebra_bert" / "demo" / "preset"
FILES = {"lockfile", "native-config", "native-metadata", "cache-file-list", "cache-record", "cache-ref"}
NAMES = schema_names()


def commands(parser, name=""):
    """Yields each command with an option `--json`, by its words with hyphens."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, f"{name}-{word}" if name else word)
        elif "--json" in action.option_strings:
            yield name


def test_each_command_with_json_has_a_schema_and_each_schema_a_command_or_file():
    of_plugins = {entry.name for entry in catalog.catalog(catalog.COMMANDS)}
    of_core = {name for name in commands(build_parser()) if name != "cache-list"}  # another name of cache ls
    assert of_core | FILES == set(NAMES)
    every = set(commands(build_parser(plugins=True))) - {"cache-list"}
    assert every - of_core == of_plugins


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_valid_and_says_what_it_describes(name):
    schema = read_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:vertebra:schema:{name}"
    words = f"vertebra {name.replace('-', ' ', 1)} --json"
    assert name in FILES or schema["title"].startswith(f"Output of {words}")


def records(schema):
    """Yields the objects of a schema that have keys of their own."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        for value in schema.values():
            yield from records(value)
    for item in schema if isinstance(schema, list) else ():
        yield from records(item)


OPEN = {"inspect": 1, "lora-info": 1, "lora-convert": 1}
"""Numbers of records to which plugins add keys: facts about a tokenizer, and options of a strategy."""


@pytest.mark.parametrize("name", sorted(set(NAMES) - FILES))
def test_records_of_outputs_are_closed(name):
    found = [record for record in records(read_schema(name)) if record.get("additionalProperties") is not False]
    assert len(found) == OPEN.get(name, 0)


# === The command ===


def test_the_list_has_files_commands_and_commands_of_plugins(capsys):
    assert main(["schema", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    check("schema", rows)
    assert {row["name"] for row in rows} == {
        *NAMES,
        "embed",
        "classify",
        "tag",
        "rerank",
        "generate",
        "chat",
        "vllm-adapter",
    }
    assert main(["schema"]) == 0
    assert "lockfile" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["cache-ls"], ["cache", "ls"], ["embed"]])
def test_one_is_printed_as_it_is(words, capsys):
    assert main(["schema", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert words == ["embed"] or shown == read_schema("cache-ls")
    Draft202012Validator.check_schema(shown)


def test_an_unknown_name_is_answered_with_the_nearest(capsys):
    assert main(["schema", "lockfil"]) == 1
    assert "No schema is named 'lockfil'. Did you mean 'lockfile'" in capsys.readouterr().err


# === Outputs ===


@pytest.fixture
def run(capsys, monkeypatch):
    """Returns a function that runs a command, checks its output against its schema, and returns it."""
    monkeypatch.setattr(logging.getLogger("vertebra"), "handlers", [])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def command(*words, name=None, status=0):
        assert main([*map(str, words), "--json"]) == status
        found = json.loads(capsys.readouterr().out)
        check(name or str(words[0]), found)
        return found

    return command


LISTINGS = ("plugins", "backbones", "presets", "formats", "sources", "strategies", "tasks", "tokenizers", "commands")


@pytest.mark.parametrize("name", [*LISTINGS, "runtimes"])
def test_listings(run, name):
    assert run(name)


@pytest.mark.parametrize("preset", ["transformers", "kerashub", "kerashub_int8", "transformers_head"])
def test_inspect(run, preset):
    assert run("inspect", BERT / preset)["backbone"] == "BertBackbone"


def test_inspect_shows_a_tokenizer(run):
    assert run("inspect", DEMO)["tokenizer"]["problem"] is None


@pytest.mark.parametrize("adapter", ["peft_lora", "peft_dora", "kerashub_lora.lora.h5"])
def test_lora_info(run, adapter):
    assert run("lora", "info", BERT / adapter, name="lora-info")["layers"]


def test_lora_check(run):
    assert run("lora", "check", BERT / "peft_lora", "--for", "peft", name="lora-check")["used"]


def test_plan(run):
    assert run("plan", BERT / "transformers")["fits"].keys() == {"run", "train all"}


def test_presets_that_are_pulled_locked_and_bundled(run, toy, tmp_path, configure):
    assert run("lock", "toy://bert")[0]["state"] == "added"
    (pulled,) = run("pull", "toy://bert")
    assert pulled["handle"] == "toy://bert@r1"
    failed = run("pull", "toy://bert", "toy://nothing", status=1)
    assert [item["error"] is None for item in failed] == [True, False]
    assert run("lock")[0]["state"] == "unchanged"
    assert run("verify")["presets"][0]["right"]
    assert run("bundle", "toy://bert", "-o", tmp_path / "bundle")
    assert run("pull", "--from", tmp_path / "bundle")
    toy.add("bert", {"config.json": b"{}"}, "r2")
    assert run("lock", status=1)[0]["files"] is None
    assert run("lock", "--update")[0]["state"] == "updated"
    assert run("cache", "ls", name="cache-ls")["presets"]
    assert run("cache", "path", name="cache-path")["path"]
    blob = next(path for path in (tmp_path / "cache" / "blobs").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"other")
    assert run("cache", "verify", name="cache-verify", status=1)["damaged"]
    assert run("cache", "prune", "toy://bert", name="cache-prune")["presets"]
    assert run("lock", "--remove", "toy://bert")[0]["state"] == "removed"


def test_push(run, tmp_path, configure):
    configure(VERTEBRA_RUNTIME="")
    folder = shutil.copytree(DEMO, tmp_path / "preset")
    (folder / "README.md").write_text("# A card\n")
    (folder / "config.json").write_text(json.dumps({"vertebra_format": 1, "backbone": "AcmeBackbone", "config": {}}))
    assert run("push", folder, tmp_path / "published")["files"]


def test_doctor(run, configure, monkeypatch):
    configure(VERTEBRA_LOCKED="maybe")
    assert run("doctor", status=1)[-1]["ok"] is False


def test_config(run, reload_plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("VERTEBRA_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("VERTEBRA_LOCKED", "1")
    (tmp_path / "config.toml").write_text("blok = 3\n")
    assert run("config", "list", name="config-list", status=1)["problems"]
    assert run("config", "set", "locked", "0", name="config-set")["notes"]
    assert run("config", "unset", "blok", name="config-unset")["before"] == 3
    assert run("config", "set", "block", "s3", name="config-set")["after"] == ["s3"]
    assert run("config", "get", "block", name="config-get")["value"] == ["s3"]


# === Files ===


def test_files_of_the_cache_and_the_lockfile(toy, tmp_path, capsys):
    assert main(["lock", "toy://bert", "--json"]) == 0
    assert main(["pull", "toy://bert", "--json"]) == 0
    check("lockfile", json.loads((tmp_path / "vertebra.lock").read_text()), closed=True)
    cache = tmp_path / "cache"
    patterns = {"presets/*/preset.json": "cache-file-list", "presets/*/files/*": "cache-record", "refs/*": "cache-ref"}
    for pattern, name in patterns.items():
        found = list(cache.glob(pattern))
        assert found
        for path in found:
            check(name, json.loads(path.read_text()), closed=True)


def test_files_of_older_releases(tmp_path):
    for path in (ROOT / "tests" / "registry" / "resolve" / "golden").glob("*.lock"):
        check("lockfile", json.loads(path.read_text()))


def test_a_native_preset():
    check("native-config", json.loads((DEMO / "config.json").read_text()))
    check("native-metadata", json.loads((DEMO / "metadata.json").read_text()), closed=True)


def test_a_wrong_file_is_refused():
    with pytest.raises(AssertionError, match="Additional properties"):
        check("native-config", {"vertebra_format": 1, "backbone": "X", "config": {}, "more": 1})
    with pytest.raises(AssertionError, match="sha256"):
        check(
            "lockfile", {"version": 1, "plugins": {}, "presets": {"x": {"handle": None, "files": {"a": {"size": 1}}}}}
        )
    with pytest.raises(AssertionError, match="Additional properties"):
        check("cache-ref", {"handle": "a://b", "pinned": "a://b@c", "more": 1}, closed=True)
