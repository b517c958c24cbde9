"""The encoders' translations: what is written is read, each weight has a tensor, other architectures are refused."""

import json

import pytest

import vertebra
from vertebra import activations
from vertebra._weights.layer_paths import weight_names
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_bert.kerashub import ElectraKerasHub
from vertebra_bert.transformers import ElectraTransformers
from vertebra_distilbert.kerashub import DistilBertKerasHub
from vertebra_distilbert.transformers import DistilBertTransformers
from vertebra_modernbert.transformers import ModernBertTransformers
from vertebra_mpnet.transformers import MPNetTransformers
from vertebra_roberta.kerashub import RobertaKerasHub
from vertebra_roberta.transformers import CamembertTransformers, RobertaTransformers, XLMRobertaTransformers

pytestmark = pytest.mark.keras(once=True)

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
PATTERN = ["sliding_attention", "full_attention", "sliding_attention"]
ALL = {"activation": list(activations.NAMES), "initializer_range": [0, 1.5], "max_sequence_length": [1, 40]}
RATES = {"dropout": [0.0, 0.5], "attention_dropout": [None, 0.25]}
ROBERTA = ALL | RATES | {"num_segments": [1, 3], "pad_token_id": [0, 1, 5], "pooler": [True, False]}
ROBERTA |= {"layer_norm_epsilon": [1e-12, 0.1]}
TRANSFORMERS = {
    "RobertaBackbone": (RobertaTransformers, ROBERTA),
    "XLMRobertaBackbone": (XLMRobertaTransformers, ROBERTA),
    "CamembertBackbone": (CamembertTransformers, ROBERTA),
    "DistilBertBackbone": (DistilBertTransformers, ALL | RATES),
    "ElectraBackbone": (
        ElectraTransformers,
        ALL | RATES | {"embedding_dim": [None, 8], "num_segments": [1, 3], "layer_norm_epsilon": [0.1]},
    ),
    "MPNetBackbone": (MPNetTransformers, ALL | RATES | {"pooler": [True, False], "layer_norm_epsilon": [0.1]}),
    "ModernBertBackbone": (
        ModernBertTransformers,
        ALL
        | {"dropout": [0.5], "attention_dropout": [0.25], "embedding_dropout": [0.1], "local_attention": [1, 7, 64]}
        | {"layer_types": [None, PATTERN, ["full_attention"] * 3], "global_max_wavelength": [7, 50.0]}
        | {"local_max_wavelength": [3.0], "layer_norm_epsilon": [0.1]}
        | {name: [True] for name in ("norm_bias", "attention_bias", "feedforward_bias")},
    ),
}
"""Translation of each class, and values of its arguments."""
KERASHUB = {
    "RobertaBackbone": (RobertaKerasHub, {"dropout": [0.5], "max_sequence_length": [7]}),
    "XLMRobertaBackbone": (RobertaKerasHub, {}),
    "DistilBertBackbone": (DistilBertKerasHub, {"dropout": [0.5], "max_sequence_length": [7]}),
    "ElectraBackbone": (ElectraKerasHub, {"embedding_dim": [None, 8], "num_segments": [3], "dropout": [0.5]}),
}
CASES = [
    (name, translation, argument, value)
    for table in (TRANSFORMERS, KERASHUB)
    for name, (translation, arguments) in table.items()
    for argument, values in arguments.items()
    for value in values
]


def build(name, translation, **changes):
    """Builds a tiny backbone that the format of the translation can represent."""
    fixed = {"pooler": False} if translation is ElectraTransformers else {}
    fixed |= {"num_layers": len(PATTERN)} if name == "ModernBertBackbone" else {}
    fixed |= {"activation": "gelu_approximate"} if translation is ElectraKerasHub else {}
    return getattr(vertebra.models, name)(**SIZES | fixed | changes)


@pytest.mark.parametrize(("name", "translation", "argument", "value"), CASES)
def test_what_is_written_is_read_and_each_weight_has_a_tensor(name, translation, argument, value):
    backbone = build(name, translation, **{argument: value})
    arguments = {key: item for key, item in backbone.get_config().items() if key not in ("name", "trainable", "dtype")}
    read = translation().arguments(json.loads(json.dumps(translation().config(arguments))))
    again = type(backbone)(**read).get_config()
    assert {key: again[key] for key in arguments} == arguments

    rules = translation().rules(backbone.get_config())
    assert rules.keys() == weight_names(backbone).keys()
    parts = [(rule.tensor, rule.part, rule.added) for rule in rules.values()]
    assert len(set(parts)) == len(parts)


REFUSED = [
    *((RobertaTransformers, field, True) for field in ("is_decoder", "add_cross_attention")),
    *((RobertaTransformers, "pad_token_id", value) for value in (-1, "1", 511, 60_000)),
    (RobertaTransformers, "position_embedding_type", "relative_key"),
    (MPNetTransformers, "relative_attention_num_buckets", 64),
    (MPNetTransformers, "max_position_embeddings", 2),
    (DistilBertTransformers, "activation", "prelu"),
    (DistilBertTransformers, "n_layers", 0),
    (ElectraTransformers, "embedding_size", 0),
    (ElectraTransformers, "position_embedding_type", "relative_key"),
    (ModernBertTransformers, "layer_types", ["full_attention"]),
    (ModernBertTransformers, "layer_types", "full_attention"),
    (ModernBertTransformers, "global_attn_every_n_layers", 0),
    (ModernBertTransformers, "rope_scaling", {"rope_type": "linear", "factor": 2.0}),
    (ModernBertTransformers, "rope_parameters", [1]),
    (ModernBertTransformers, "rope_parameters", {"full_attention": {"rope_type": "yarn"}}),
]


@pytest.mark.parametrize(("translation", "field", "value"), REFUSED)
def test_another_architecture_is_refused_by_field(translation, field, value):
    with pytest.raises(PresetConfigError, match=field):
        translation().arguments({field: value})


def test_configs_of_transformers_4_are_read():
    older = {"num_hidden_layers": 3, "global_attn_every_n_layers": 2, "global_rope_theta": 50.0}
    read = ModernBertTransformers().arguments(older | {"local_rope_theta": None})
    assert read["layer_types"] == ["full_attention", "sliding_attention", "full_attention"]
    assert (read["global_max_wavelength"], read["local_max_wavelength"]) == (50.0, 50.0)
    newer = {"rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 9.0}}}
    read = ModernBertTransformers().arguments(newer)
    assert (read["global_max_wavelength"], read["local_max_wavelength"]) == (160_000.0, 9.0)
    assert read["layer_types"] is None


def test_other_names_of_distilberts_fields_are_read():
    read = DistilBertTransformers().arguments({"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3})
    assert (read["num_layers"], read["hidden_dim"], read["num_heads"]) == (2, 24, 3)


@pytest.mark.parametrize(("argument", "value"), [("pooler", True), ("num_segments", 2), ("pad_token_id", 0)])
def test_what_kerashub_lacks_is_refused_by_argument(argument, value):
    with pytest.raises(FormatLimitError, match=argument):
        RobertaKerasHub().config(build("RobertaBackbone", RobertaKerasHub, **{argument: value}).get_config())


@pytest.mark.parametrize("name", KERASHUB)
def test_another_initial_deviation_is_no_reason_to_refuse_a_save(name, tmp_path):
    backbone = build(name, KERASHUB[name][0], initializer_range=0.5)
    backbone.save_to_preset(tmp_path / "saved", format="kerashub", certificate=False)
    assert type(vertebra.Backbone.from_preset(tmp_path / "saved")).__name__ == name
