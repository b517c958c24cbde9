"""`vertebra lora info`: what an adapter's files say of it, in each form, without a framework and without a value."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra._lora.files.describe import describe_adapter
from vertebra._weights.hdf5.writing import write_datasets
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.cli import main
from vertebra.errors import LoraConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
QUERY = "layer_{}/attention/query"


def write(path, shapes, metadata):
    """Writes tensors of zeros."""
    layouts = {name: layout_of(name, "float32", shape) for name, shape in shapes.items()}
    write_tensors(
        path, {name: lambda s=shape: np.zeros(s, "float32") for name, shape in shapes.items()}, layouts, metadata
    )


def plan(**changes):
    """What the short form says of an adapter of two layers with different ranks."""
    config = {
        "rank": 2, "alpha": None, "dropout": 0.0, "strategy": "lora", "seed": None,
        "rank_pattern": {}, "alpha_pattern": {}, "options": {},
    }  # fmt: skip
    layers = {
        QUERY.format(number): {"rank": 2 + number, "alpha": 4.0, "heads": 1, "shares": None} for number in range(2)
    }
    return {"config": config | changes, "layers": layers}


def short(path, shapes=None, **metadata):
    """Writes an adapter in the short form."""
    own = {f"{QUERY.format(n)}/lora/{v}": (8, 2 + n) if v == "a" else (2 + n, 8) for n in range(2) for v in "ab"}
    said = {"vertebra.adapter": json.dumps(plan()), "vertebra.base": "f" * 64, "vertebra.model": "SampleBackbone"}
    write(path, own | (shapes or {}), said | metadata)
    return path


@pytest.fixture
def peft(tmp_path):
    """Returns a function that writes a folder as PEFT does."""

    def make(shapes=None, **config):
        folder = tmp_path / "peft"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8} | config))
        names = shapes or {"base_model.model.q.lora_A.weight": (4, 8), "base_model.model.q.lora_B.weight": (8, 4)}
        write(folder / "adapter_model.safetensors", names, {"format": "pt"})
        return folder

    return make


# === What each form says ===


def test_the_short_form_says_everything(tmp_path):
    facts = describe_adapter(short(tmp_path / "a.safetensors", {"pooler/kernel": (8, 8)}))
    assert facts["form"] == "short"
    assert facts["strategy"] == "lora"
    assert (facts["ranks"], facts["alphas"]) == ([2, 3], [4.0])
    assert facts["layers"] == [QUERY.format(0), QUERY.format(1)]
    assert facts["parameters"] == 2 * 8 * 2 + 2 * 8 * 3
    assert facts["bytes"] == 4 * (facts["parameters"] + 64)
    assert facts["base"] == "f" * 64
    assert facts["saved_from"] == "SampleBackbone"
    assert facts["beside"] == ["pooler/kernel"]


def test_a_strategy_that_is_not_installed_is_no_obstacle(tmp_path):
    settings = json.dumps(plan(strategy="of_tomorrow"))
    assert (
        describe_adapter(short(tmp_path / "a.safetensors", **{"vertebra.adapter": settings}))["strategy"]
        == "of_tomorrow"
    )


def test_a_folder_that_peft_wrote():
    facts = describe_adapter(GOLDEN / "peft_lora")
    assert facts["form"] == "peft"
    assert facts["strategy"] == "lora"
    assert (facts["ranks"], facts["alphas"]) == ([4], [8.0])
    modules = [f"encoder.layer.{number}.attention.self.{name}" for number in (0, 1) for name in ("query", "value")]
    assert facts["layers"] == modules
    assert facts["parameters"] == 4 * 2 * 16 * 4
    assert (facts["base"], facts["saved_from"], facts["beside"]) == (None, None, [])


def test_peft_switches_mean_installed_strategies(peft):
    assert describe_adapter(GOLDEN / "peft_rslora")["strategy"] == "rslora"
    with pytest.raises(LoraConfigError, match="use_bdlora=True, expected it to be off"):
        describe_adapter(peft(use_bdlora=True))


def test_peft_patterns_and_base_weights(peft):
    shapes = {
        "base_model.model.layer.10.q.lora_A.weight": (2, 8),
        "base_model.model.layer.10.q.lora_B.weight": (8, 2),
        "base_model.model.layer.9.q.lora_A.weight": (4, 8),
        "base_model.model.layer.9.q.lora_B.weight": (8, 4),
        "base_model.model.layer.9.q.lora_magnitude_vector": (8,),
        "base_model.model.layer.9.q.base_layer.bias": (8,),
        "base_model.model.embed.lora_embedding_A": (3, 50),
        "base_model.model.embed.lora_embedding_B": (8, 3),
    }
    facts = describe_adapter(peft(shapes, alpha_pattern={"^layer.10.q": 1}))
    assert facts["layers"] == ["embed", "layer.9.q", "layer.10.q"]
    assert (facts["ranks"], facts["alphas"]) == ([2, 3, 4], [1.0, 8.0])
    assert facts["beside"] == ["base_model.model.layer.9.q.base_layer.bias"]


ROWS = {
    "base_model.model.q.lora_A.weight": (4, 8),
    "base_model.model.q.lora_B.weight": (8, 4),
    "base_model.model.embed.token_adapter.trainable_tokens_delta": (3, 8),
    "base_model.model.embed.token_adapter.base_layer.weight": (50, 8),
}


@pytest.mark.parametrize("given", [[9, 2, 7], {"embed": [9, 2, 7]}], ids=str)
def test_rows_of_a_table_are_no_base_weights(peft, given, capsys):
    folder = peft(ROWS, trainable_token_indices=given)
    facts = describe_adapter(folder)
    assert facts["added_layers"] == {"embed": {"strategy": "trainable_tokens", "token_indices": [9, 2, 7]}}
    assert facts["layers"] == ["embed", "q"]
    assert facts["parameters"] == 2 * 4 * 8 + 3 * 8
    assert facts["beside"] == ["base_model.model.embed.token_adapter.base_layer.weight"]
    assert (facts["strategy"], facts["ranks"]) == ("lora", [4])
    assert main(["lora", "info", str(folder)]) == 0
    assert "added layer embed, by trainable_tokens: token_indices=[9, 2, 7]\n" in capsys.readouterr().out


def test_rows_in_the_short_form(tmp_path):
    rows = {"rank": 1, "alpha": 1.0, "heads": 1, "shares": None, "strategy": "trainable_tokens"}
    settings = plan()
    settings["layers"]["token_embedding"] = rows | {"options": {"token_indices": [5]}}
    facts = describe_adapter(short(tmp_path / "a.safetensors", **{"vertebra.adapter": json.dumps(settings)}))
    assert facts["added_layers"] == {"token_embedding": {"strategy": "trainable_tokens", "token_indices": [5]}}
    assert (facts["ranks"], facts["alphas"]) == ([2, 3], [4.0])


@pytest.mark.parametrize("given", [{"oft_block_size": 4, "r": 0}, {"oft_block_size": 0, "r": 2}], ids=str)
def test_blocks_of_oft_have_the_size_that_the_tensors_tell(peft, given, capsys):
    shapes = {"base_model.model.q.oft_R.weight": (2, 6), "base_model.model.wide.oft_R.weight": (2, 28)}
    folder = peft(shapes, peft_type="OFT", lora_alpha=None, use_cayley_neumann=False, **given)
    facts = describe_adapter(folder)
    assert (facts["rank_name"], facts["ranks"]) == ("block size", [4, 8])
    assert facts["options"] == {"use_cayley_neumann": False}
    assert main(["lora", "info", str(folder)]) == 0
    assert "block size  4, 8\n" in capsys.readouterr().out


def test_a_file_of_kerashub_has_numbers_for_layers(tmp_path):
    arrays = {"lora/vars/rank": np.array(4)}
    for number in (11, 9):
        arrays |= {
            f"lora/{number}/vars/lora_kernel_a": np.zeros((8, 2, 4)),
            f"lora/{number}/vars/lora_kernel_b": np.zeros((4, 4)),
        }
    write_datasets(tmp_path / "a.lora.h5", arrays)
    facts = describe_adapter(tmp_path / "a.lora.h5")
    assert (facts["form"], facts["strategy"]) == ("kerashub", "keras")
    assert (facts["ranks"], facts["alphas"]) == ([4], [4.0])
    assert facts["layers"] == ["9", "11"]
    assert facts["parameters"] == 2 * (8 * 2 * 4 + 4 * 4)


# === How it is told ===


def test_it_is_printed_with_a_tree(tmp_path, capsys):
    assert main(["lora", "info", str(short(tmp_path / "a.safetensors"))]) == 0
    shown = capsys.readouterr().out
    assert "rank        2, 3\n" in shown
    assert "saved from  SampleBackbone\n" in shown
    assert "8 × 3  float32" in shown


def test_json_is_the_same(capsys):
    assert main(["lora", "info", str(GOLDEN / "peft_lora"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe_adapter(GOLDEN / "peft_lora")


@pytest.mark.parametrize("form", ["short", "peft"])
def test_no_framework_is_imported(tmp_path, form):
    path = short(tmp_path / "a.safetensors") if form == "short" else GOLDEN / "peft_lora"
    probe = "import sys; from vertebra.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", probe, "lora", "info", str(path)]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr.split()
    assert {"keras", "torch", "jax", "numpy"}.isdisjoint(loaded)


def test_a_huge_adapter_is_read_by_its_header(tmp_path):
    size = 400 * 10**9
    name = f"{QUERY.format(0)}/lora/a"
    header = {name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    encoded = json.dumps(header | {"__metadata__": {"vertebra.adapter": json.dumps(plan())}}).encode()
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + size)  # sparse: takes no room on disk
    assert describe_adapter(tmp_path / "a.safetensors")["bytes"] == size


# === Errors are one line ===


def refused(path, capsys):
    """Returns the one-line error message for an adapter."""
    assert main(["lora", "info", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err


def test_nothing_there(tmp_path, capsys):
    assert "No adapter" in refused(tmp_path / "missing.safetensors", capsys)
    assert "adapter_config.json" in refused(tmp_path, capsys)


@pytest.mark.parametrize("suffix", [".safetensors", ".lora.h5"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"\x00" * 100, b"no adapter\n" * 100])
def test_other_files(tmp_path, capsys, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path, capsys)


@pytest.mark.parametrize(
    "settings",
    ["", "[]", "{", "[" * 100_000, '{"config": {}, "layers": {}}', json.dumps(plan(rank=0)),
     json.dumps(plan(rank=None)), json.dumps(plan(options=[])),
     json.dumps(plan(alpha=1e308)), json.dumps(plan() | {"layers": {"q": 1}}),
     json.dumps(plan() | {"layers": {"q": {"rank": 1, "alpha": 1, "heads": 1, "shares": ["q"]}}}),
     json.dumps(plan() | {"layers": {"p": 1, "q": {"rank": 1, "alpha": 1, "heads": 1, "shares": "p"}}})],
)  # fmt: skip
def test_settings_that_are_none(tmp_path, capsys, settings):
    refused(short(tmp_path / "a.safetensors", **{"vertebra.adapter": settings}), capsys)


@pytest.mark.parametrize(
    "config",
    [{"peft_type": "VERA"}, {"r": 0}, {"r": 10**9}, {"r": "8"}, {"lora_alpha": None, "r": None}, {"lora_alpha": -1},
     {"alpha_pattern": ["q"]}, {"alpha_pattern": {"q": "high"}}],
)  # fmt: skip
def test_a_config_that_is_none(peft, capsys, config):
    refused(peft(**config), capsys)


def test_a_checkpoint_is_no_adapter(peft, capsys):
    assert "holds no adapter" in refused(peft({"encoder.weight": (8, 8)}), capsys)


def test_names_cannot_control_the_terminal(peft, tmp_path, capsys):
    name = "\x1b[2J\nerror: all is well \x9b31m"
    assert main(["lora", "info", str(short(tmp_path / "a.safetensors", {name: (1,)}))]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "\x1b" not in refused(peft({name: (8, 8)}), capsys)


def test_a_name_of_a_million_parts_is_drawn(tmp_path, capsys):
    assert main(["lora", "info", str(short(tmp_path / "a.safetensors", {"x/" * 500_000: (1,)}))]) == 0
    assert "x" in capsys.readouterr().out


@given(st.binary(max_size=200), st.integers(0, 3000))
def test_damage_is_an_error_or_harmless(tmp_path_factory, damage, offset):
    path = short(tmp_path_factory.mktemp("damaged") / "a.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + damage + whole[offset + len(damage) :])
    assert main(["lora", "info", str(path)]) in (0, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["r", "lora_alpha", "alpha_pattern", "use_dora", "use_rslora", "peft_type", "rank_pattern"])


@given(st.dictionaries(fields, json_values))
def test_any_config_is_described_or_an_error(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("peft")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"} | config))
    (folder / "adapter_model.safetensors").write_bytes(
        (GOLDEN / "peft_lora" / "adapter_model.safetensors").read_bytes()
    )
    assert main(["lora", "info", str(folder)]) in (0, 1)
