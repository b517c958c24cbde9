"""Built-in presets of DistilBERT.

Ids, handles and numbers of parameters of `kaggle://` presets are those of KerasHub 0.32, and its copies on Hugging
Face have the preset's name. Of the others, sizes are from `config.json`, poolings from `1_Pooling/config.json`, and
licences from the model card, all in the repository that the handle names; parameters are those of the backbone.
"""

from vertebra import PresetSpec

# Id, model on Kaggle, version there, parameters, layers, width, language and purpose or data.
_TABLE = (
    (
        "distil_bert_base_en_uncased",
        "distil_bert",
        3,
        66_362_880,
        6,
        768,
        "English, lower case; Wikipedia and BooksCorpus",
    ),
    ("distil_bert_base_en", "distil_bert", 3, 65_190_912, 6, 768, "English, cased; Wikipedia and BooksCorpus"),
    ("distil_bert_base_multi", "distil_bert", 3, 134_734_080, 6, 768, "104 languages, cased; Wikipedia"),
)

# Id, repository on Hugging Face, parameters, layers, width, language and purpose, licence.
_OF_HUB = (
    (
        "distilbert_base_uncased_finetuned_sst_2_english",
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        66_362_880,
        6,
        768,
        "English, lower case; sentiment, two classes, from SST-2",
        "Apache-2.0",
    ),
    (
        "distilbert_base_multilingual_cased_ner_hrl",
        "Davlan/distilbert-base-multilingual-cased-ner-hrl",
        134_734_080,
        6,
        768,
        "ten languages, cased; named entities",
        "AFL-3.0",
    ),
)


def _of_kerashub(table: tuple[tuple[str, str, int, int, int, int, str], ...]) -> tuple[PresetSpec, ...]:
    """Returns KerasHub's presets, which it also publishes on Hugging Face under the preset's name."""
    return tuple(
        PresetSpec(
            name,
            f"kaggle://keras/{model}/keras/{name}/{version}",
            parameters,
            f"{layers} layers of width {width}; {text}",
            copies=(f"hf://keras/{name}",),
        )
        for name, model, version, parameters, layers, width, text in table
    )


def _of_hub(table: tuple[tuple[str, str, int, int, int, str, str], ...]) -> tuple[PresetSpec, ...]:
    """Returns the presets of repositories on Hugging Face."""
    return tuple(
        PresetSpec(name, f"hf://{repository}", parameters, f"{layers} layers of width {width}; {text}; {licence}")
        for name, repository, parameters, layers, width, text, licence in table
    )


PRESETS = _of_kerashub(_TABLE) + _of_hub(_OF_HUB)
