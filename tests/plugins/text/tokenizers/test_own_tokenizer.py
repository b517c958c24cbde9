"""A tokenizer in one file, as docs/how-to/write-a-tokenizer.md shows it."""

import json
import re
import sys
import types

import numpy as np
import pytest

import vertebra
from pages import page
from vertebra_text import Tokenizer

pytestmark = pytest.mark.keras
PAGE = page("how-to/write-a-tokenizer.md")
CODE, PLUGIN = re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)[:2]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder with the file of the tokenizer, whose plugin is added."""
    module, plugin = types.ModuleType("acme_characters"), types.ModuleType("acme_characters_plugin")
    monkeypatch.setitem(sys.modules, "acme_characters", module)
    exec(compile(CODE, "acme_characters.py", "exec"), module.__dict__)
    exec(compile(PLUGIN, "acme_characters_plugin.py", "exec"), plugin.__dict__)
    vertebra.add_plugin(plugin, "characters")
    (tmp_path / "characters.json").write_text(json.dumps({"characters": [*"abc "]}))
    yield tmp_path
    vertebra.remove_plugin("characters")


def test_a_tokenizer_in_one_file(folder):
    tokenizer = Tokenizer.from_preset(folder)
    inputs = tokenizer(["abz", "c"], max_length=2, return_num_truncated_tokens=True)
    np.testing.assert_array_equal(inputs["token_ids"], [[2, 3], [4, 0]])
    np.testing.assert_array_equal(inputs["padding_mask"], [[1, 1], [1, 0]])
    np.testing.assert_array_equal(inputs["num_truncated_tokens"], [1, 0])
    assert tokenizer(["abc"], pad_to_multiple_of=4)["token_ids"].tolist() == [[2, 3, 4, 0]]
    assert tokenizer.tokenize(["ab", "z"]) == [[2, 3], [1]]
    assert tokenizer.detokenize(tokenizer.tokenize("ab c")) == "ab c"
    (folder / "copy").mkdir()
    tokenizer.save_to_preset(folder / "copy")
    assert Tokenizer.from_preset(folder / "copy").vocabulary_size() == 6


def test_a_task_reads_it(folder):
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "max_sequence_length": 12}
    backbone = vertebra.models.RobertaBackbone(vocabulary_size=6, **sizes)
    embedder = vertebra.models.TextEmbedder(backbone, Tokenizer.from_preset(folder))
    embedder.save_to_preset(folder / "embedder")
    again = vertebra.models.TextEmbedder.from_preset(folder / "embedder")
    texts = ["abc", "a b c a b c a b c", "z"]
    np.testing.assert_allclose(again.embed(texts), embedder.embed(texts), atol=1e-6)
