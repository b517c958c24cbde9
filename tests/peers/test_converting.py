"""`vertebra convert` between the peers' formats: each peer loads the other's presets, with the same outputs."""

import numpy as np
import pytest

from vertebra.cli import main

pytestmark = pytest.mark.keras

ARCHITECTURES = ["bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "gemma", "gemma2", "gemma3"]


def convert(source, target, *options):
    assert main(["convert", str(source), str(target), *options]) == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("options", [(), ("--max-shard-size", "4e-6")], ids=["whole", "shards"])
def test_from_kerashub_to_transformers_and_back(
    architecture, options, tiny, ask, agree, kerashub_peer, transformers_peer, tmp_path
):
    first, middle, last = tmp_path / "first", tmp_path / "middle", tmp_path / "last"
    model, arguments = tiny(architecture)
    expected = ask(kerashub_peer, "create", first, architecture, model=model, config=arguments)["outputs"]
    convert(first, middle, "--format", "transformers", *options)
    convert(middle, last, "--format", "kerashub", *options)
    attention = "eager" if architecture == "gemma2" else None  # transformers' fused attention does not support a cap
    there = ask(transformers_peer, "load", middle, architecture, attention=attention)
    complaints = [name for names in there["report"].values() for name in names]
    assert all(name.startswith("pooler.") for name in complaints)  # transformers' RoBERTa always has a pooler
    agree({name: np.array(values) for name, values in expected.items()}, there["outputs"], architecture)
    back = ask(kerashub_peer, "load", last, architecture)["outputs"]
    assert back == expected


@pytest.mark.parametrize("architecture", ["roberta", "xlm-roberta"])
def test_a_pooler_is_left_out_for_kerashub(
    architecture, build, compute, ask, agree, kerashub_peer, transformers_peer, tmp_path
):
    first, last = tmp_path / "first", tmp_path / "last"
    build(architecture, pooler=True).save_to_preset(first, format="transformers")
    expected = ask(transformers_peer, "load", first, architecture)["outputs"]
    assert main(["convert", str(first), str(last), "--format", "kerashub"]) != 0
    convert(first, last, "--format", "kerashub", "--set", "pooler=false")
    there = ask(kerashub_peer, "load", last, architecture)["outputs"]
    agree({name: np.array(values) for name, values in expected.items()}, there, architecture)


def test_a_pooler_is_left_out_for_transformers(tiny, ask, agree, kerashub_peer, transformers_peer, tmp_path):
    first, last = tmp_path / "first", tmp_path / "last"
    model, arguments = tiny("electra")
    config = arguments | {"num_segments": 2}
    expected = ask(kerashub_peer, "create", first, "electra", model=model, config=config)["outputs"]
    convert(first, last, "--format", "transformers", "--set", "pooler=false")
    there = ask(transformers_peer, "load", last, "electra")
    assert not any(there["report"].values())
    agree({name: np.array(values) for name, values in expected.items()}, there["outputs"], "electra")
