"""`vertebra plan`: from headers alone, without a framework."""

import json
import subprocess
import sys

import pytest

from vertebra.cli import main

FLOATS, HALVES = 32 + 60, 8


def test_json_has_every_figure(sample_preset, capsys):
    assert main(["plan", str(sample_preset), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    size = sum((sample_preset / name).stat().st_size for name in ("config.json", "model.safetensors"))
    assert plan["parameters"] == FLOATS + HALVES
    assert (plan["to_fetch"], plan["files"]) == (0, size)
    assert (plan["weights"], plan["converted"]) == (4 * (FLOATS + HALVES), 4 * HALVES)
    assert plan["train_all"] == 12 * (FLOATS + HALVES)
    assert plan["fits"].keys() == {"run", "train all"}
    assert (plan["format"], plan["backbone"], plan["place"]) == ("native", "SampleBackbone", "memory")


def test_people_read_sizes_and_whether_it_fits(sample_preset, capsys):
    assert main(["plan", str(sample_preset), "--dtype", "float16"]) == 0
    shown = capsys.readouterr().out
    assert "100 parameters" in shown
    assert "200 B, of which 184 B are converted copies" in shown
    assert "fits in memory" in shown or "is unknown" in shown


@pytest.mark.parametrize("command", ["plan", "inspect"])
def test_a_plugin_that_failed_is_named(command, sample_preset, install, reload_plugins, monkeypatch, capsys):
    install("acme-policy", "import a_package_that_is_missing")
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")
    assert main([command, str(sample_preset)]) == 0
    warning, hint = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: plugin acme-policy of acme-policy is not used: line 1 of acme_policy imports ")
    assert "VERTEBRA_BLOCK=acme-policy excludes" in hint


@pytest.mark.parametrize("columns", [40, 80])
def test_the_text_fits_a_terminal(columns, sample_preset, on_terminal):
    shown = on_terminal(columns, main, ["plan", str(sample_preset)])
    assert max(len(line) for line in shown if str(sample_preset.parent) not in line) <= columns
    assert " ".join(" ".join(shown).split()).endswith("Activations take additional memory, which depends on the batch.")


def test_what_cannot_be_is_an_error(sample_preset, capsys):
    assert main(["plan", str(sample_preset), "--dtype", "float33"]) == 1
    assert "float33" in capsys.readouterr().err
    assert main(["plan", str(sample_preset / "nothing")]) == 1


def test_headers_need_no_framework(sample_preset):
    code = f"""import sys
from vertebra.cli import main
main(["plan", {str(sample_preset)!r}, "--json"])
print(sorted({{"keras", "torch", "jax", "numpy"}} & set(sys.modules)), file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("text", ["four", "1.5"])
def test_a_rank_is_a_number(sample_preset, text, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plan", str(sample_preset), "--lora-rank", text])
    assert caught.value.code == 2


def test_a_cache_is_planned_for_a_decoder_only(sample_preset, capsys):
    assert main(["plan", str(sample_preset), "--generate"]) == 1
    assert "--generate='SampleBackbone', expected a preset of a decoder" in capsys.readouterr().err
    assert main(["plan", str(sample_preset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cache"] is None


@pytest.mark.parametrize("option", ["--batch-size", "--prompt-tokens", "--new-tokens"])
def test_lengths_are_for_a_cache_and_at_least_1(sample_preset, option, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plan", str(sample_preset), option, "5"])
    assert caught.value.code == 2
    assert f"{option} is for --generate" in capsys.readouterr().err
    assert main(["plan", str(sample_preset), "--generate", option, "0"]) == 1
    assert f"{option}=0, expected a number of at least 1" in capsys.readouterr().err
