"""Errors that need no framework come before it is imported, which takes seconds."""

from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
SOURCE, ADAPTER = GOLDEN / "transformers", GOLDEN / "peft_lora"
CODE = """import sys
from vertebra.cli import main
status = main(sys.argv[1:])
assert not {"keras", "torch", "jax"} & set(sys.modules)
sys.exit(status)"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["convert", SOURCE, "target", "--format", "keras"], "format='keras' is not known"),
        (["convert", SOURCE, "target", "--dtype", "int8"], "dtype='int8' is not a dtype of floats"),
        (["convert", SOURCE, "target", "--max-shard-size", "0"], "max_shard_size=0.0 is not"),
        (["convert", SOURCE, "target", "--runtime", "tensorflow"], "No runtime is named 'tensorflow'"),
        (["convert", SOURCE, "hf://acme/bert"], "it is a handle"),
        (["convert", SOURCE, "."], "it holds the current directory"),
        (["convert", SOURCE, "file"], "it is a file"),
        (["convert", "./missing", "target"], "No preset at"),
        (["convert", ADAPTER, "target"], "it is an adapter"),
        (["verify", SOURCE], "it has no certificate"),
        (["verify", "./missing"], "No preset at"),
        (["push", SOURCE, "package://x"], "presets cannot be uploaded to package://"),
        (["push", SOURCE, "pp"], "as a path: ./pp"),
        (["push", "./missing", "./target"], "No preset at"),
        (["lora", "merge", "./missing", "target", "--base", SOURCE], "No adapter at"),
        (["lora", "merge", ADAPTER, "target", "--base", "./missing"], "No preset at"),
        (["lora", "merge", ADAPTER, "hf://acme/bert", "--base", SOURCE], "it is a handle"),
        (["lora", "merge", ADAPTER, "target", "--base", SOURCE, "--format", "keras"], "format='keras' is not known"),
        (["lora", "convert", ADAPTER, "hf://acme/bert", "--base", SOURCE], "it is a handle"),
        (["lora", "convert", ADAPTER, "target", "--base", "./missing"], "No preset at"),
        (["plan", "./missing", "--lora-rank", "4"], "No preset at"),
    ],
)
def test_errors_that_need_no_framework_come_before_it(words, said, tmp_path, python_with_numpy):
    (tmp_path / "file").touch()
    done = python_with_numpy(["-c", CODE, *words], cwd=tmp_path, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
