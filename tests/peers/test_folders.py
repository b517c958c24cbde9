"""Folders as people have them: what transformers reads of links, odd names and odd JSON computes the same here."""

import pytest

import vertebra
from vertebra.errors import PresetConfigError

pytestmark = pytest.mark.keras(once=True)

CONFIG = {"vocab_size": 61, "num_hidden_layers": 2, "hidden_size": 16, "max_position_embeddings": 12}
BERT = CONFIG | {"num_attention_heads": 2, "intermediate_size": 24, "model_type": "bert"}


def links(folder):
    """Replaces each file by a link to a file elsewhere, by way of another link."""
    for path in list(folder.iterdir()):
        store = path.rename(folder.parent / f"blob-{path.name}")
        (folder.parent / f"link-{path.name}").symlink_to(store)
        path.symlink_to(f"../link-{path.name}")


def odd_names(folder):
    for name in ("model.safetensors:Zone.Identifier", "aux.txt", "run 12:30.log", "a.", "README.md", "readme.md"):
        (folder / name).write_text("x")
    (folder / "dangling").symlink_to("nowhere")


def field(text):
    def change(folder):
        path = folder / "config.json"
        path.write_text(path.read_text().replace("{", "{" + text, 1))

    change.__name__ = text
    return change


@pytest.mark.parametrize(
    "change",
    [
        *(links, odd_names, field('"x": NaN, '), field('"x": [-Infinity, 1e999], ')),
        *(field('"x": 1, "x": 2, '), field('"problem_type": "a", "problem_type": "b", ')),
    ],
    ids=lambda change: change.__name__,
)
def test_what_transformers_reads_is_read(change, ask, transformers_peer, compute, agree, folder):
    ask(transformers_peer, "create", folder, "bert", model="BertModel", config=BERT)
    change(folder)
    theirs = ask(transformers_peer, "load", folder, "bert")["outputs"]
    agree(compute(vertebra.Backbone.from_preset(folder), "bert"), theirs, "bert")


def test_a_field_with_two_values_is_refused_where_transformers_takes_the_last(ask, transformers_peer, folder):
    ask(transformers_peer, "create", folder, "bert", model="BertModel", config=BERT)
    field('"layer_norm_eps": 0.1, ')(folder)
    assert ask(transformers_peer, "load", folder, "bert")["outputs"]
    with pytest.raises(PresetConfigError, match=r"layer_norm_eps has two values, 0\.1 and 1e-12"):
        vertebra.Backbone.from_preset(folder)
