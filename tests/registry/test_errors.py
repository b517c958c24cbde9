"""Errors: one root, parts kept as attributes, and a message that names the value and what to do next."""

import copy
import inspect
import pickle
import re

import pytest

from vertebra import errors
from vertebra.errors import VertebraError, close_names
from vertebra.errors.base import shown

# For each class: arguments, all of their texts to be found in the message.
SAMPLES = {
    "ArgumentError": ("from_preset", "load_weights", "no", "True or False"),
    "HandleError": ("hf:/x", "it has no scheme"),
    "UnknownNameError": ("preset source", "hff", ["hf"]),
    "NameClashError": ("backbone", "Shared", ["acme-one 1.0", "acme-two 2.0"]),
    "PluginError": ("acme", "it fell over"),
    "NewPluginError": ("acme", "an installed plugin has that name", "Choose another NAME"),
    "MissingPluginError": ("acme", "VERTEBRA_PLUGINS", ["acne"]),
    "FailedPluginError": ("acme", "VERTEBRA_PLUGINS", "ImportError: a dependency is missing."),
    "SettingsError": ("config.toml", "it is not TOML"),
    "RuntimeUnavailableError": ("toy", "Toy is not installed; install it with: pip install toy"),
    "RuntimeChoiceError": (["one", "two"],),
    "RuntimeBoundError": ("wanted", "bound"),
    "ForkedProcessError": ("JAX",),
    "ReplacedWeightsError": ("BertBackbone",),
    "DtypeChangeError": ("BertBackbone", "float16", "float32"),
    "PresetNotFoundError": ("hf://x", "no such repository", ["hf://y"]),
    "PresetChangedError": ("file:///x", "model.safetensors"),
    "PresetRefusedError": ("hf://x", "acme-policy 1.0", "it is not signed"),
    "PresetConfigError": ("config.json", "rank is 0"),
    "PresetFormatError": ("save_to_preset", "format='x' cannot be written", ["native"]),
    "FormatLimitError": ("transformers", "activation", "swoosh", "it has no name for it"),
    "CertificateError": ("hf://x", "it has no certificate", "Save it again"),
    "PresetClassError": ("hf://x", "FoundBackbone", "WantedBackbone"),
    "PresetSaveError": ("/nowhere", "the disk is full", "Free some space"),
    "ClientMissingError": ("hf://", "huggingface_hub"),
    "PresetAccessError": ("hf://x", "HTTP 403", "Install a token"),
    "RedirectRefusedError": ("hf://x", "http://10.0.0.1", "which is inside your network", "HF_ENDPOINT"),
    "SourceUnavailableError": ("hf://x", "HTTP 503"),
    "PresetUploadError": ("hf://x", "HTTP 503"),
    "IntegrityError": ("hf://x", "model.safetensors", "its sha256 is a, expected b"),
    "OfflineError": ("hf://x", ["model.safetensors"]),
    "CacheError": ("cache", "it is not writable", "Choose another folder"),
    "LockError": ("vertebra.lock", "it has no entry for 'x'", "Write it again"),
    "SignatureError": ("hf://acme/bert", "it has no signature", "Check the preset"),
    "PresetExistsError": ("s3://x", "another preset is there", "Choose another target"),
    "WeightsFileError": ("model.safetensors", "it is cut short"),
    "WeightsNotFoundError": ("model.safetensors", "it is missing"),
    "WeightsMismatchError": ("model.safetensors", ["lost"], ["extra"], [("w", (1, 2), (2, 1))], ["k (needs float32)"]),
    "MeshError": ("the use of its axis 'x' is not known", "Use data, fsdp or tensor"),
    "LayoutError": ("GemmaBackbone", "num_key_value_heads 1 cannot be divided by 2", "Use another mesh"),
    "LoraTargetError": ("qery", "it names no layer", ["query", "value"]),
    "LoraDeclarationError": ("NetBackbone", "lora_roles['mlp.up']", "up_*", "a tuple of globs"),
    "LoraStrategyError": ("loha", "acme-loha 1.0 (acme_loha)", "scale is None, expected a finite number"),
    "LoraStateError": ("The backbone has an adapter already", "Call disable_lora() first"),
    "LoraConfigError": ("adapter_config.json", "r", 0, "an int from 1"),
    "AdapterNotFoundError": ("adapters/legal",),
    "AdapterMismatchError": ("adapter", "has tensors for layers that are not there", ["layer_9"]),
    "AdapterBaseError": ("adapter", "abcdef012345", "543210fedcba"),
}
KERASHUBS_VALUE_ERRORS = (
    *("ArgumentError", "UnknownNameError", "PresetNotFoundError", "PresetClassError", "PresetConfigError"),
    *("LoraStateError", "AdapterMismatchError", "PresetFormatError", "WeightsFileError"),
)
"""Errors for which KerasHub's `Backbone` raises a ValueError."""
ROOTS = {"VertebraError", "PresetError", "LoraError"}
CLASSES = {name: value for name, value in vars(errors).items() if name.endswith("Error")}
NEXT_STEP = re.compile(
    r"\b(Call|Check|Choose|Correct|Fetch|Free|Install|List|Load|Mend|Save|Start|Try|Update|Use|Write|call|install)\b"
    r"|can be \w+"
)


def texts(value):
    """Yields the texts and numbers in nested arguments."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)
    else:
        yield str(value)


def test_every_class_has_a_sample():
    assert SAMPLES.keys() | ROOTS == CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_there_is_one_root(name):
    assert issubclass(CLASSES[name], VertebraError)


@pytest.mark.parametrize(("name", "arguments"), SAMPLES.items())
def test_the_message_names_the_values_and_a_next_step(name, arguments):
    message = str(CLASSES[name](*arguments))
    assert [text for text in texts(arguments) if text not in message] == []
    assert NEXT_STEP.search(message)
    assert re.search(r"[^.]\.$", message)
    assert not re.search(r"[^.]\.\.(?!\.)", message)


@pytest.mark.parametrize(("name", "arguments"), SAMPLES.items())
def test_the_parts_are_attributes(name, arguments):
    error = CLASSES[name](*arguments)
    parameters = list(inspect.signature(CLASSES[name]).parameters)
    kept = {part: value for part, value in zip(parameters, arguments, strict=False) if part not in ("remedy", "hint")}
    assert {part: getattr(error, part) for part in kept} == kept


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("HandleError", ValueError),
        ("UnknownNameError", LookupError),
        ("RuntimeUnavailableError", ImportError),
        ("PresetNotFoundError", FileNotFoundError),
        ("PresetRefusedError", PermissionError),
        ("PresetSaveError", OSError),
        ("PresetClassError", TypeError),
        ("WeightsMismatchError", ValueError),
        ("WeightsNotFoundError", FileNotFoundError),
        ("ForkedProcessError", RuntimeError),
        ("ReplacedWeightsError", RuntimeError),
        *((name, ValueError) for name in KERASHUBS_VALUE_ERRORS),
    ],
)
def test_who_catches_what_python_would_raise_catches_ours(name, standard):
    with pytest.raises(standard):
        raise CLASSES[name](*SAMPLES[name])


@pytest.mark.parametrize(("name", "arguments"), SAMPLES.items())
def test_can_be_sent_between_processes(name, arguments):
    error = CLASSES[name](*arguments)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


@pytest.mark.parametrize(
    ("name", "arguments", "end"),
    [
        ("LoraStateError", ("It has no adapter 'a'", "Did you mean 'b'?"), "'a'. Did you mean 'b'?"),
        ("PresetConfigError", ("x", "did you mean 'layers'?", "Correct it"), "did you mean 'layers'? Correct it."),
        ("LockError", ("x", "it does not exist", "Create it with: vertebra lock PRESET..."), "vertebra lock PRESET..."),
        ("FailedPluginError", ("x", "y", "It failed."), "It failed. Correct the problem, or remove the plugin from y."),
    ],
)  # fmt: skip
def test_a_text_that_ends_a_sentence_gets_no_second_mark(name, arguments, end):
    assert str(CLASSES[name](*arguments)).endswith(end)


SENTENCES = ("problem", "expected", "reason", "remedy", "hint")


@pytest.mark.parametrize("mark", [".", "?"])
@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"OfflineError"}))  # its reason is not the end of a sentence
def test_a_sentence_that_ends_with_a_mark_gets_no_second_one(name, mark):
    parameters = inspect.signature(CLASSES[name]).parameters
    given = dict(zip(parameters, SAMPLES.get(name, ("it failed",)), strict=False))
    for parameter in parameters.keys() & {*SENTENCES}:
        message = str(CLASSES[name](**given | {parameter: f"it is a sentence{mark}"}))
        assert not re.search(r"sentence[.?!][.;,?!]", message)


def test_long_lists_are_cut_short_in_the_message_only():
    missing = [f"weight_{number}" for number in range(1000)]
    error = CLASSES["WeightsMismatchError"]("x", missing)
    assert error.missing == missing
    assert "weight_19 " in str(error)
    assert "weight_20" not in str(error)
    assert "980 more" in str(error)


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("bert_bas_en", ["bert_base_en", "gpt2"], ["bert_base_en"]),
        ("BERT_BASE_EN", ["bert_base_en"], ["bert_base_en"]),
        ("bertbackbone", ["BertBackbone"], ["BertBackbone"]),
        ("xyz", ["bert_base_en"], []),
        ("", ["bert_base_en"], []),
        ("base_1", ["base_2", "base_3", "base_4", "base_5"], ["base_5", "base_4", "base_3"]),
    ],
)
def test_similar_names(name, known, found):
    assert close_names(name, known) == found


def test_a_message_does_not_repeat_a_huge_value():
    error = errors.PresetConfigError("config.json", "x" * 10**6)
    assert len(str(error)) < 5_000
    assert len(error.problem) == 10**6


def test_a_long_value_is_shortened():
    assert shown("a") == "'a'"
    assert shown([1] * 1000, most=9) == "[1, 1, 1,… (2,991 characters more)"
    assert shown(10**5000) == "<int, too long to show>"
