"""`vertebra plan --devices`: the table of meshes, its figures as JSON, and options that do not fit together."""

import json
import subprocess
import sys

import pytest

from checked_json import check
from large_llamas import LLAMAS, llama_shapes, write_llama
from vertebra.cli import main

VECTORS = 2 * 80 * 8192 + 8192
PARAMETERS = 70_553_706_496


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A preset of 141 GB that takes no space."""
    return str(write_llama("llama-70b", tmp_path_factory.mktemp("sparse")))


@pytest.fixture
def plan(llama, capsys):
    """Returns a function that plans the preset with some options, and returns the part about devices."""

    def run(*options):
        assert main(["plan", llama, "--dtype", "bfloat16", "--json", *options]) == 0
        found = json.loads(capsys.readouterr().out)
        check("plan", found)
        return found["devices"]

    return run


@pytest.fixture
def text(llama, capsys):
    """Returns a function that plans the preset with some options, and returns the lines that are printed."""

    def run(*options):
        assert main(["plan", llama, "--dtype", "bfloat16", *options]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_every_mesh_has_figures(plan):
    found = plan("--devices", "8", "--train", "full", "--memory", "80GB", "--batch-size", "2", "--length", "4096")
    assert found["memory"] == 80 * 10**9
    assert [[axis["size"] for axis in mesh["axes"]] for mesh in found["meshes"]] == [[8, 1], [4, 2], [2, 4], [1, 8]]
    for mesh in found["meshes"]:
        assert mesh["reads"] == mesh["weights"] == mesh["gradients"] == mesh["optimizer"] // 2
        assert 8 * mesh["weights"] == 2 * (PARAMETERS + 7 * VECTORS)
        assert mesh["replicated"] == 2 * VECTORS
        parts = ("weights", "gathered", "gradients", "optimizer", "activations", "cache")
        assert mesh["total"] == sum(mesh[part] for part in parts)
    assert (found["sequences"], found["length"], found["first_fit"]) == (2, 4096, None)


def test_nothing_is_planned_without_the_option(llama, capsys):
    assert main(["plan", llama, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] is None


def test_an_adapter_is_counted_from_the_headers(plan):
    found = plan("--devices", "8", "--train", "lora", "--lora-rank", "16")
    numbers = 16 * 80 * (8192 + 8192 + 8192 + 1024)
    assert found["adapter_parameters"] == numbers
    assert {mesh["gradients"] for mesh in found["meshes"]} == {4 * numbers}
    assert plan("--devices", "8", "--train", "lora")["adapter_parameters"] == numbers // 2


def test_a_cache_is_divided_among_the_devices(plan):
    whole, parts = (
        plan("--mesh", mesh, "--devices", "8", "--generate", "--prompt-tokens", "1000")["meshes"][0]
        for mesh in ("8x1", "1x8")
    )
    assert 0 < parts["cache"] == -(-whole["cache"] // 8)
    assert whole["activations"] == 0


def test_people_read_which_mesh_fits(text):
    lines = text("--devices", "16", "--train", "lora", "--memory", "70GB")
    assert lines[1] == (
        "16 devices of 70.0 GB, bfloat16, training of an adapter, 16,384,000 parameters of the adapter, "
        "1 sequence of 2,048 tokens in each part of the batch"
    )
    columns = ("mesh", "weights", "gathered", "gradients", "optimizer", "activations", "total", "reads", "fits")
    assert lines[2].lower().split() == [*columns]
    fits = [line.split("  ")[-1].strip() for line in lines[3:8]]
    assert fits == ["no", "yes, the first", "yes", "yes", "no"]
    assert lines[8].startswith("1x16 (fsdp, tensor) cannot be used: ")
    assert lines[8].endswith("num_key_value_heads 8 cannot be divided by 16")
    assert lines[9] == "It fits on 8x2 (fsdp, tensor)."
    assert any("arXiv:2205.05198" in line for line in lines)


def test_people_read_the_meshes_that_fit_if_theirs_does_not(text):
    lines = text("--devices", "8", "--mesh", "8x1", "--train", "lora", "--memory", "75GB")
    assert lines[4] == "It does not fit. It fits on 4x2 (fsdp, tensor), 2x4 (fsdp, tensor), 1x8 (fsdp, tensor):"
    assert len([line for line in lines if line.startswith(("4x2", "2x4", "1x8"))]) == 3


def test_people_read_that_nothing_fits_and_the_remedy(text):
    lines = text("--devices", "8", "--train", "full", "--memory", "40GB")
    expected = "It does not fit on any mesh of fsdp and tensor parallelism of 8 devices."
    assert f"{expected} With --recompute, there are fewer activations." in lines
    assert expected in text("--devices", "8", "--train", "full", "--memory", "40GB", "--recompute")


def test_without_a_memory_no_mesh_is_said_to_fit(text):
    lines = text("--devices", "8")
    assert "FITS" not in lines[2]
    assert "The memory of a device is unknown: --memory 80GB says which mesh fits." in lines


def test_an_architecture_without_a_layout_is_divided_by_its_shapes(sample_preset, capsys):
    words = ["plan", str(sample_preset), "--devices", "2", "--train", "full", "--memory", "1MB"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "Whether it fits depends on the activations, which are not known." in shown
    assert "The architecture declares no layout: it is derived from the shapes of the weights." in shown
    assert "Activations take additional memory, which is not known without a layout." in shown


def test_uneven_weights_are_replicated_on_request(text, llama, capsys):
    options = ["--devices", "16", "--mesh", "1x16"]
    assert main(["plan", llama, *options]) == 1
    assert "num_key_value_heads 8 cannot be divided by 16. Pass --on-uneven replicate" in capsys.readouterr().err
    lines = text(*options, "--on-uneven", "replicate")
    assert any("key/kernel" in line and "num_key_value_heads 8 cannot be divided by 16" in line for line in lines)


def test_a_number_that_divides_nothing_is_answered_with_the_remedy(text):
    lines = text("--devices", "7")
    assert "No mesh can be used: --on-uneven replicate leaves weights whole that cannot be divided evenly." in lines


@pytest.mark.parametrize("columns", [40, 80])
def test_the_text_fits_a_terminal(columns, llama, on_terminal):
    shown = on_terminal(columns, main, ["plan", llama, "--devices", "8", "--train", "full", "--memory", "80GB"])
    longest = max(len(name) for name in llama_shapes(LLAMAS["llama-70b"]))
    assert max(len(line) for line in shown if llama not in line) <= max(columns, longest)


def test_headers_need_no_framework(llama):
    code = f"""import sys
from vertebra.cli import main
main(["plan", {llama!r}, "--json", "--devices", "8", "--train", "lora"])
print(sorted({{"keras", "torch", "jax", "numpy"}} & set(sys.modules)), file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"


# === What does not fit together ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mesh", "2x4"], "--mesh is for --devices"),
        (["--parallel", "fsdp"], "--parallel is for --devices"),
        (["--train", "full"], "--train is for --devices"),
        (["--on-uneven", "error"], "--on-uneven is for --devices"),
        (["--length", "8"], "--length is for --devices"),
        (["--length", "0"], "--length is for --devices"),
        (["--recompute"], "--recompute is for --devices"),
        (["--memory", "80GB"], "--memory is for --devices"),
        (["--devices", "8", "--parallel", "fsdp"], "--parallel is for --mesh"),
        (["--devices", "8", "--length", "8"], "--length is for --train"),
        (["--devices", "8", "--length", "0"], "--length is for --train"),
        (["--devices", "8", "--recompute"], "--recompute is for --train"),
        (["--devices", "8", "--lora-rank", "4"], "--lora-rank with --devices is for --train lora"),
        (["--devices", "8", "--batch-size", "4"], "--batch-size is for --train or --generate"),
        (["--devices", "8", "--train", "full", "--generate"], "--train and --generate are two plans"),
        (["--devices", "8", "--train", "full", "--new-tokens", "4"], "--new-tokens is for --generate"),
        (["--devices", "8", "--train", "all"], "invalid choice: 'all'"),
        (["--devices", "eight"], "invalid int value: 'eight'"),
        (["--devices", "8", "--memory", "much"], "'much' is not a size, such as 500MB or 2GB"),
    ],
)
def test_options_that_need_others_are_refused(options, message, llama, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plan", llama, *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mesh", "3x3"], "3x3 has 9 devices, and --devices is 8"),
        (["--mesh", "8", "--parallel", "pipeline"], "'pipeline' is no use of an axis"),
        (["--mesh", "two"], "--mesh='two', expected sizes of at least 1"),
        (["--mesh", "2x4", "--parallel", "tensor,tensor"], "are both tensor-parallel"),
        (["--memory", "0"], "--memory=0.0, expected at least one byte"),
        (["--memory", "9" * 400], "expected at least one byte"),
        (["--train", "full", "--batch-size", "0"], "--batch-size=0, expected a number from 1"),
        (["--train", "full", "--length", "0"], "--length=0, expected a number from 1"),
        (["--train", "full", "--length", "200000"], "--length=200000, expected at most 131,072"),
        (["--train", "lora", "--lora-rank", "0"], "rank"),
    ],
)
def test_values_that_cannot_be_are_errors(options, message, llama, capsys):
    assert main(["plan", llama, "--devices", "8", *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-8", "1000001"])
def test_a_number_of_devices_is_at_least_one(number, llama, capsys):
    assert main(["plan", llama, "--devices", number]) == 1
    assert f"--devices={number}, expected a number from 1 to 1,000,000" in capsys.readouterr().err
