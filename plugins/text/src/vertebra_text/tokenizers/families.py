"""`Family`: the tokenizers of one group of architectures, as facts: files, special tokens and template.

The names of classes and of special tokens are those of transformers 5.23 and KerasHub 0.32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WORDPIECE, BYTE_BPE, UNIGRAM, SPM_BPE = "WordPiece", "byte-level BPE", "Unigram", "SentencePiece BPE"
WORDPIECE_FILES = ("vocab.txt",)
BPE_FILES = ("vocab.json", "merges.txt")
SPM_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "spm.model")
"""Names that transformers gives to a SentencePiece model."""

_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA = {
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "sep": "</s>",
    "pad": "<pad>",
    "cls": "<s>",
    "mask": "<mask>",
}


@dataclass(frozen=True, slots=True)
class Family:
    """Facts about the tokenizers of a group of architectures."""

    name: str
    """The class of transformers, without `Fast`."""
    algorithm: str
    special: Mapping[str, str]
    """The default of each special token, by its role."""
    template: str
    """The positions of special tokens: `bert`, `roberta`, `s` (as RoBERTa's, with bos and eos), `eos`, or `flags` for
    `add_bos_token` and `add_eos_token`."""
    aliases: tuple[str, ...] = ()
    """Further classes of transformers with the same tokenizer."""
    model_types: tuple[str, ...] = ()
    """Model types of transformers whose tokenizer this is, for presets that name no class."""
    kerashub: tuple[str, ...] = ()
    """Classes of KerasHub, the one to write first."""
    segments: bool = False
    """Whether the architecture has segment ids."""
    stripping: tuple[str, ...] = ()
    """Roles whose token takes the space before it along."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `tokenizer_config.json` that change the tokens, with their defaults."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the vocabulary files; for SentencePiece, one of them is enough."""
        return {WORDPIECE: WORDPIECE_FILES, BYTE_BPE: BPE_FILES}.get(self.algorithm, SPM_FILES)


_CASES = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
_BEGIN_END = {"add_bos_token": False, "add_eos_token": False}

FAMILIES = (
    Family(
        "BertTokenizer",
        WORDPIECE,
        _BERT,
        "bert",
        aliases=("ElectraTokenizer", "MobileBertTokenizer"),
        model_types=("bert", "electra", "mobilebert", "megatron-bert", "nomic_bert"),
        kerashub=("BertTokenizer", "ElectraTokenizer"),
        segments=True,
        options=_CASES,
    ),
    Family(
        "DistilBertTokenizer",
        WORDPIECE,
        _BERT,
        "bert",
        model_types=("distilbert",),
        kerashub=("DistilBertTokenizer",),
        options=_CASES,
    ),
    Family(
        "MPNetTokenizer",
        WORDPIECE,
        {**_ROBERTA, "unk": "[UNK]"},
        "roberta",
        model_types=("mpnet",),
        stripping=("mask",),
        options=_CASES,
    ),
    Family(
        "RobertaTokenizer",
        BYTE_BPE,
        _ROBERTA,
        "roberta",
        aliases=("LongformerTokenizer", "BartTokenizer"),
        model_types=("roberta", "bart", "longformer"),
        kerashub=("RobertaTokenizer", "BartTokenizer"),
        options={"add_prefix_space": False},
    ),
    Family(
        "GPT2Tokenizer",
        BYTE_BPE,
        {"unk": "<|endoftext|>", "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
        "flags",
        model_types=("gpt2", "gpt_neo", "gptj"),
        kerashub=("GPT2Tokenizer",),
        options={"add_prefix_space": False, **_BEGIN_END},
    ),
    Family(
        "XLMRobertaTokenizer",
        UNIGRAM,
        _ROBERTA,
        "s",
        model_types=("xlm-roberta", "xlm-roberta-xl"),
        kerashub=("XLMRobertaTokenizer",),
        options={"add_prefix_space": True},
    ),
    Family(
        "CamembertTokenizer",
        UNIGRAM,
        _ROBERTA,
        "s",
        model_types=("camembert",),
        stripping=("mask",),
        options={"add_prefix_space": True},
    ),
    Family(
        "T5Tokenizer",
        UNIGRAM,
        {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"},
        "eos",
        model_types=("t5", "mt5"),
        kerashub=("T5Tokenizer",),
        options={"extra_ids": 100},
    ),
    Family(
        "GemmaTokenizer",
        SPM_BPE,
        {"unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "mask": "<mask>"},
        "flags",
        model_types=("gemma", "gemma2", "vaultgemma", "gemma3_text", "gemma3"),
        kerashub=("GemmaTokenizer", "Gemma3Tokenizer"),
        options=_BEGIN_END,
    ),
    Family(
        "LlamaTokenizer",
        SPM_BPE,
        {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
        "flags",
        aliases=("CodeLlamaTokenizer",),
        model_types=("llama", "mistral"),
        kerashub=("LlamaTokenizer", "MistralTokenizer"),
        options={"add_prefix_space": True, "legacy": False, **_BEGIN_END},
    ),
)


def family_of_class(name: str) -> Family | None:
    """Returns the family of a class of transformers, with or without `Fast`, or None."""
    short = name.removesuffix("Fast")
    return next((family for family in FAMILIES if short in (family.name, *family.aliases)), None)


def family_of_model_type(model_type: object) -> Family | None:
    """Returns the family of a model type of transformers, or None."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def family_of_kerashub(registered_name: str) -> Family | None:
    """Returns the family of a registered name of KerasHub, such as `keras_hub>BertTokenizer`, or None."""
    package, _, name = registered_name.rpartition(">")
    if package not in ("keras_hub", "keras_nlp"):
        return None
    return next((family for family in FAMILIES if name in family.kerashub), None)
