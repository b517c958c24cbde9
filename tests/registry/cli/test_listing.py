"""`vertebra plugins`, `presets` and the other listings."""

import json

import pytest

from vertebra._discovery import extras
from vertebra.cli import main
from vertebra.cli.listing import LISTINGS


@pytest.fixture
def listed(capsys):
    def run(command):
        assert main([command, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize("command", LISTINGS)
def test_table_and_json_agree(command, listed, capsys):
    rows = listed(command)
    main([command])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(rows)
    assert lines[0].split()[0] == LISTINGS[command].columns[0].upper()
    assert all(str(row[LISTINGS[command].columns[0]]) in line for row, line in zip(rows, lines[1:], strict=True))


def test_plugins_tell_owner_and_state(listed):
    by_name = {row["name"]: row for row in listed("plugins")}
    assert by_name["builtin"]["distribution"] == "vertebra"
    assert by_name["bert"]["hooks"] == ["vertebra_backbones"]
    assert {row["status"] for row in by_name.values()} == {"loaded"}


def test_presets_tell_class_size_and_place(listed):
    by_name = {row["name"]: row for row in listed("presets")}
    assert by_name["bert_tiny_en_uncased"]["parameters"] == 4_385_920
    assert by_name["bert_tiny_en_uncased"]["backbone"] == "BertBackbone"
    assert by_name["bert_tiny_en_uncased"]["handle"] == "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["bert_tiny"], {"bert_tiny_en_uncased", "bert_tiny_en_uncased_sst2"}),
        (["BERT_TINY", "sst2"], {"bert_tiny_en_uncased_sst2"}),
        (["bert_tiny_*_uncased"], {"bert_tiny_en_uncased"}),
        (["tiny", "--architecture", "BertBackbone"], {"bert_tiny_en_uncased", "bert_tiny_en_uncased_sst2"}),
        (["tiny", "--architecture", "gpt2"], set()),
        (["GPT2Backbone", "--max-size", "550MB"], {"gpt2_base_en", "gpt2_base_en_cnn_dailymail"}),
        (["--max-size", "17543680"], {"bert_tiny_en_uncased", "bert_tiny_en_uncased_sst2"}),
        (["--max-size", "17543679"], set()),
        (["--max-size", "0.0165 GiB", "sst2"], {"bert_tiny_en_uncased_sst2"}),
    ],
)
def test_presets_are_filtered_by_name_architecture_and_size(words, names, capsys):
    assert main(["presets", *words, "--json"]) == 0
    shown = capsys.readouterr()
    assert {row["name"] for row in json.loads(shown.out)} == names
    assert ("none of " in shown.err) == (not names)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["gemma_27b_x"], "; more are installed with: pip install 'vertebra[gemma]'"),
        (["bert_tini_en_uncased"], ". Did you mean 'bert_tiny_en_uncased', "),
        (["bert_tiny", "GPT3Backbone"], ". Did you mean 'GPT2Backbone'"),
        (["--architecture", "BirtBackbone"], ". Did you mean 'BertBackbone'"),
        (["xyzzy"], " matches\n"),
        (["bert_tiny", "--max-size", "1 kB"], " matches\n"),
    ],
)
def test_filters_that_match_nothing_are_answered_with_what_does(filters, said, monkeypatch, capsys):
    monkeypatch.setattr(extras, "is_installed", lambda distribution: distribution != "vertebra-gemma")
    assert main(["presets", *filters]) == 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("size", ["big", "1.2.3MB", "-1", "5 XB", "", "nan"])
def test_a_size_is_a_number_with_a_unit(size, capsys):
    with pytest.raises(SystemExit):
        main(["presets", f"--max-size={size}"])
    assert "is not a size, such as 500MB or 2GB" in capsys.readouterr().err


def test_a_column_without_any_value_is_not_shown(capsys):
    main(["runtimes"])
    assert "REASON" not in capsys.readouterr().out


def test_builtin_contributions_are_listed_like_any(listed):
    assert {row["scheme"] for row in listed("sources")} >= {"file", "package"}
    assert "lora" in {row["name"] for row in listed("strategies")}


def test_runtimes_say_why_one_cannot_be_used(listed):
    for row in listed("runtimes"):
        assert row["available"] == (row["reason"] is None)


def test_plugins_are_listed_though_the_settings_cannot_be_met(reload_plugins, monkeypatch, capsys):
    monkeypatch.setenv("VERTEBRA_BLOCK", "kaggel")
    assert main(["plugins", "--json"]) == 1
    shown = capsys.readouterr()
    assert {"builtin", "bert"} <= {row["name"] for row in json.loads(shown.out)}
    assert "VERTEBRA_BLOCK names plugin 'kaggel', which is not installed. Did you mean 'kaggle'?" in shown.err
    assert main(["presets"]) == 1
