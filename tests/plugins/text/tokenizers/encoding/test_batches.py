"""Assembled batches equal those that the `tokenizers` library assembles itself, token by token."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awkward_texts import awkward_texts
from vertebra.errors import PresetConfigError

NAMES = {"token_ids": "ids", "padding_mask": "attention_mask", "segment_ids": "type_ids"}
NAMES |= {"special_tokens_mask": "special_tokens_mask", "offset_mapping": "offsets"}
kinds = pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])


@pytest.fixture(scope="module")
def tokenizers():
    """The tokenizers that have been read, by kind: no call changes one."""
    return {}


@pytest.fixture(params=["bert", "roberta", "xlm-roberta"])
def tokenizer(request, make, read, tokenizers):
    if request.param not in tokenizers:
        tokenizers[request.param] = read(make(request.param))
    return tokenizers[request.param]


def expected(tokenizer, texts, most, side, cut, multiple, special):
    """Returns the arrays of the library's own truncation and padding."""
    backend = type(tokenizer.backend).from_str(tokenizer.backend.to_str())
    if most is not None:
        backend.enable_truncation(most, direction=cut)
    backend.enable_padding(direction=side, pad_id=tokenizer.pad_token_id, pad_to_multiple_of=multiple)
    encodings = backend.encode_batch(texts, add_special_tokens=special)
    arrays = {name: np.array([getattr(encoding, theirs) for encoding in encodings]) for name, theirs in NAMES.items()}
    arrays["word_ids"] = np.array(
        [[-1 if word is None else word for word in encoding.word_ids] for encoding in encodings]
    )
    return arrays


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("most", [None, 30, 7, 4])
@pytest.mark.parametrize(("side", "cut"), [("right", "right"), ("left", "left"), ("left", "right")])
@pytest.mark.parametrize("special", [True, False])
def test_a_batch_is_the_library_s(tokenizer, paired, most, side, cut, special, request):
    """Each case has other texts, so that together they have all."""
    texts = awkward_texts(700)[200 + zlib.crc32(request.node.name.encode()) % 28 :: 28]
    pairs = texts[::-1] if paired else None
    ours = tokenizer(
        texts,
        pairs,
        max_length=most,
        truncation=most is not None,
        padding_side=side,
        truncation_side=cut,
        pad_to_multiple_of=8,
        add_special_tokens=special,
        return_offsets_mapping=True,
        return_word_ids=True,
        return_special_tokens_mask=True,
    )
    theirs = expected(tokenizer, list(zip(texts, pairs, strict=True)) if paired else texts, most, side, cut, 8, special)
    for name, array in ours.items():
        assert np.array_equal(array, theirs[name]), name


def test_many_texts_are_encoded_in_several_parts(bert):
    texts = awkward_texts(3000)[500:]
    whole = bert(texts, return_offsets_mapping=True)
    for start in (0, 1023, 1024, 2400):
        part = bert(texts[start : start + 50], return_offsets_mapping=True)
        width = part["token_ids"].shape[1]
        for name, array in part.items():
            assert np.array_equal(whole[name][start : start + 50, :width], array)


def test_arrays_without_offsets_are_the_same(tokenizer):
    texts = awkward_texts(900)[100:]
    fast, slow = tokenizer(texts), tokenizer(texts, return_offsets_mapping=True)
    assert all(np.array_equal(fast[name], slow[name]) for name in fast)


@given(
    first=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    most=st.integers(0, 20),
    strategy=st.sampled_from(["longest_first", "only_first", "only_second"]),
    data=st.data(),
)
def test_pairs_keep_as_many_tokens_as_in_the_library(first, most, strategy, data):
    import tokenizers

    from vertebra.errors import ArgumentError
    from vertebra_text.tokenizers.encoding.truncation import kept_lengths

    second = data.draw(st.lists(st.integers(0, 12), min_size=len(first), max_size=len(first)))
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.enable_truncation(most, strategy=strategy)
    try:
        found = [backend.encode("a " * one, "a " * other) for one, other in zip(first, second, strict=True)]
    except Exception:  # of the library: it cannot shorten a text enough
        with pytest.raises(ArgumentError):
            kept_lengths(np.array(first), np.array(second), most, strategy)
        return
    theirs = [[encoding.sequence_ids.count(index) for encoding in found] for index in (0, 1)]
    assert [array.tolist() for array in kept_lengths(np.array(first), np.array(second), most, strategy)] == theirs


# === Templates ===


def test_templates_are_read_from_every_post_processor():
    from tokenizers import processors

    from vertebra_text.tokenizers.encoding.template import PLAIN, PLAIN_PAIR, templates_of

    assert templates_of(None) == (PLAIN, PLAIN_PAIR)
    assert templates_of(processors.ByteLevel()) == (PLAIN, PLAIN_PAIR)
    bert = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    assert templates_of(bert) == templates_of(template)
    assert templates_of(processors.Sequence([processors.ByteLevel(), template])) == templates_of(template)
    roberta = templates_of(processors.RobertaProcessing(("</s>", 2), ("<s>", 0)))
    assert [slot.ids for slot in roberta[1].slots] == [(0,), (2, 2), (2,)]


@pytest.mark.parametrize("single", ["[CLS] $B", "[CLS]", "$A [CLS] $A"])
def test_a_template_that_is_no_sequence_of_the_texts_is_refused(single, make, read):
    from tokenizers import processors

    folder = make("bert")
    tokenizer = read(folder)
    tokenizer.backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("[CLS]", 2)])
    (folder / "tokenizer.json").write_text(tokenizer.backend.to_str(), "utf-8")
    with pytest.raises(PresetConfigError, match="its post_processor cannot be used"):
        read(folder)
