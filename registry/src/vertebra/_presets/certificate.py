"""A preset's parity certificate: a small input, and the backbone's outputs for it when the preset was saved.

Replaying it shows that weights, code and runtime together still compute the same outputs. If the preset has a
tokenizer, the input is that of texts, which are stored, too, as are the outputs of its task.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._presets.certificate_header import TASK, TASK_OUTPUTS, TEXTS, Certificate, digest_of_config
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.log import log
from vertebra._tasks.preset_files import SmallFiles
from vertebra._tasks.tasks import loaded_class
from vertebra._tasks.tokenizers import find_tokenizer, text_inputs, tokenizer_classes
from vertebra._weights.quantized import quantization_plan
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra._weights.together.parts import host_arrays
from vertebra.errors import CertificateError, exception_text
from vertebra.file_names import CERTIFICATE, CONFIG
from vertebra.handles import PresetHandle
from vertebra.specs import PresetTokenizer, TextSample

_LIMITS = {"float64": 5e-6, "float32": 5e-6, "float16": 4e-3, "bfloat16": 3e-2}
"""Largest relative difference of an output, by compute dtype.

Measured on decoders of 12 layers in float32: 3e-7 between runtimes on a CPU, 1.2e-5 for the wrong variant of GELU.
"""
_TENSOR_CORES = 3e-3
"""The limit for float32 on an accelerator, which may multiply with 10 bits of mantissa (NVIDIA's TF32)."""
_QUANTIZED = 1e-2
"""The limit for layers that round their inputs to integers: a tie may round the other way."""
_SAVE_AGAIN = "Check that config and certificate belong together, or save the preset again"
_MOST_NUMBERS, _LONGEST = 2_048, 1_024
"""Most numbers of an input that has another shape than the backbone's sample, and its longest axis: a hostile
certificate must not need more memory than the weights, and that of attention grows with the square of the length."""
_MOST_TEXTS, _MOST_CHARACTERS, _MOST_IDS = 100, 4_096, 16
_MASK = "inputs/padding_mask"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of replaying a certificate."""

    differences: dict[str, float]
    """Norm of each output's difference, divided by the norm of the stored output (both Euclidean)."""
    limits: dict[str, float]
    """Largest difference allowed for each output."""
    saved_with: dict[str, str]
    """Runtime and dtype that computed the stored outputs."""
    same_config: bool = True
    """Whether the certificate was made with the present `config.json`."""

    @property
    def holds(self) -> bool:
        """Whether the config is the same and every output is within its limit."""
        return self.same_config and not self.failures

    @property
    def failures(self) -> list[str]:
        """Outputs whose difference exceeds its limit or is not a number, or whose limit is not finite."""
        return [name for name, limit in self.limits.items() if not self.differences[name] <= limit < math.inf]


def write_certificate(backbone: Any, stage: Path, sample: Callable[[], TextSample | None] = lambda: None) -> None:
    """Runs the backbone on a sample input and stores input and outputs.

    If the backbone cannot run on the sample, this logs a warning and writes no certificate.

    Args:
        backbone: The backbone.
        stage: The folder of the preset, which has its config.
        sample: Returns texts with the input and the outputs of a task for them, or None for an input without texts.
    """
    try:
        text = sample()
        tensors = _tensors(backbone, text)
    except Exception as error:
        log.warning("No parity certificate was written: the backbone cannot run on the sample input (%s)", error)
        return
    if not all(np.isfinite(array).all() for array in tensors.values()):
        log.warning("No parity certificate was written: the outputs for the sample input are not finite")
        return
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in tensors.items()}
    arrays = {name: partial(np.asarray, array) for name, array in tensors.items()}
    digest = digest_of_config(stage / CONFIG)
    facts = {"runtime": keras.config.backend(), "dtype": str(backbone.compute_dtype), "config": digest}
    if text is not None:
        facts |= {TEXTS: json.dumps(text.texts, ensure_ascii=False), **({TASK: text.task} if text.task else {})}
    write_tensors(stage / CERTIFICATE, arrays, layouts, facts)


def _tensors(backbone: Any, text: TextSample | None) -> dict[str, np.ndarray[Any, Any]]:
    inputs = backbone.sample_inputs() if text is None else dict(text.inputs)
    named = flatten("inputs", inputs) | flatten("outputs", _run(backbone, inputs))
    if text is not None and text.task:
        named |= flatten(TASK_OUTPUTS.rstrip("/"), text.outputs)
    return {name: np.asarray(array) for name, array in named.items()}


def replay(backbone: Any, certificate: Certificate) -> Verdict:
    """Runs the backbone on the stored input and compares its outputs with the stored ones.

    Outputs of padding are not compared: they have no meaning, and formats differ in the weights that they keep for it.

    Raises:
        CertificateError: the certificate has other inputs or outputs than the backbone.
    """
    handle, tensors = certificate.handle, certificate.tensors
    stored = {name: tensors.view(name) for name in tensors.header.entries if not name.startswith(TASK_OUTPUTS)}
    facts = {name: tensors.header.metadata.get(name, "") for name in ("runtime", "dtype")}
    sample = backbone.sample_inputs()
    inputs = _stored_inputs(handle, stored, sample)
    expected = {name: array for name, array in stored.items() if not name.startswith("inputs/")}
    _check_outputs(handle, backbone, expected, {len(array) for array in inputs if array.ndim})
    try:
        outputs = flatten("outputs", _run(backbone, keras.tree.pack_sequence_as(sample, inputs)))
    except Exception as error:  # token ids outside the vocabulary, or any other input that the layers refuse
        problem = f"the backbone cannot run on its stored input ({exception_text(error)})"
        raise CertificateError(handle, problem, _SAVE_AGAIN) from error
    if _kinds(outputs) != _kinds(expected):
        raise _other_outputs(handle)
    limit = max(_limit(backbone, str(backbone.compute_dtype)), _limit(backbone, facts["dtype"]))
    outputs, expected = (_of_tokens(backbone, arrays, stored.get(_MASK)) for arrays in (outputs, expected))
    differences = {name.removeprefix("outputs/"): difference(outputs[name], expected[name]) for name in expected}
    return Verdict(differences, dict.fromkeys(differences, limit), facts, certificate.same_config)


def _of_tokens(backbone: Any, outputs: Mapping[str, Any], mask: Any) -> dict[str, Any]:
    """Returns outputs without those of padding, where an output has one row for each token."""
    shapes = {name: tensor.shape for name, tensor in flatten("outputs", backbone.output).items()}

    def by_token(name: str) -> bool:
        return mask is not None and len(shapes[name]) > 1 and shapes[name][1] is None and mask.any()

    return {
        name: array[mask != 0] if by_token(name) and array.shape[:2] == mask.shape else array
        for name, array in outputs.items()
    }


def _stored_inputs(handle: PresetHandle, stored: Mapping[str, Any], sample: Any) -> list[Any]:
    """Returns the stored inputs in the order of the sample's, after comparing their dtypes, ranks and sizes."""
    wanted = flatten("inputs", sample)
    inputs = {name: stored[name] for name in stored if name.startswith("inputs/")}
    kinds, expected = ({name: (a.dtype, a.ndim) for name, a in arrays.items()} for arrays in (inputs, wanted))
    if kinds != expected:
        raise CertificateError(handle, "its certificate has other inputs than the backbone", _SAVE_AGAIN)
    for name, array in inputs.items():
        if array.shape != wanted[name].shape and not _is_small(array.shape):
            problem = f"the input {name.removeprefix('inputs/')} of its certificate has the shape {array.shape}"
            limits = f"at most {_MOST_NUMBERS:,} numbers and an axis of {_LONGEST:,} are computed"
            raise CertificateError(handle, f"{problem}; {limits}", _SAVE_AGAIN)
    return [inputs[name] for name in wanted]


def _is_small(shape: tuple[int, ...]) -> bool:
    return math.prod(shape) <= _MOST_NUMBERS and max(shape, default=0) <= _LONGEST


def _check_outputs(handle: PresetHandle, backbone: Any, stored: Mapping[str, Any], batches: set[int]) -> None:
    """Compares the shapes of stored outputs with those known of the backbone, before anything is computed."""
    known = {name: tensor.shape for name, tensor in flatten("outputs", backbone.output).items()}
    shapes = {name: array.shape for name, array in stored.items()}

    def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
        sizes = list(zip(shape, expected, strict=False))
        is_batch = not shape or expected[0] is not None or not batches or shape[0] in batches
        return len(shape) == len(expected) and is_batch and all(wanted in (None, size) for size, wanted in sizes)

    if shapes.keys() != known.keys() or not all(fits(shape, known[name]) for name, shape in shapes.items()):
        raise _other_outputs(handle)


def _other_outputs(handle: PresetHandle) -> CertificateError:
    return CertificateError(handle, "its certificate has other outputs than the backbone", _SAVE_AGAIN)


def _kinds(arrays: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}


def check(backbone: Any, certificate: Certificate) -> None:
    """Replays a certificate.

    Raises:
        CertificateError: the config is not the certified one, or an output differs by more than its limit.
    """
    verdict = replay(backbone, certificate)
    if not verdict.same_config:
        raise CertificateError(certificate.handle, "its config.json is not the certified one", _SAVE_AGAIN)
    log.info("%s: certificate replayed, differences %s", certificate.handle, verdict.differences)
    if not verdict.holds:
        worst = ", ".join(
            f"{name} differs by {difference:.2e} (limit {verdict.limits[name]:.0e})"
            for name, difference in verdict.differences.items()
            if name in verdict.failures
        )
        remedy = "Weights, code or runtime changed since the preset was saved: fetch it again, or compare the versions"
        raise CertificateError(certificate.handle, f"its outputs differ from its certificate: {worst}", remedy)


def difference(output: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Returns the norm of the difference of two arrays, divided by that of the second (both Euclidean)."""
    norm = float(np.linalg.norm(expected.astype("float64")))
    return float(np.linalg.norm(output.astype("float64") - expected)) / (norm or 1.0)


def _limit(backbone: Any, dtype: str) -> float:
    limit = _LIMITS.get(dtype, _LIMITS["float32"])
    if quantization_plan(backbone):
        limit = max(limit, _QUANTIZED)
    on_accelerator = any(device.kind != "cpu" for device in runtimes.bind().devices()[:1])
    return max(limit, _TENSOR_CORES) if on_accelerator else limit


def _run(backbone: Any, inputs: Any) -> Any:
    outputs = backbone(inputs, training=False)
    arrays = host_arrays({str(number): leaf for number, leaf in enumerate(keras.tree.flatten(outputs))})
    return keras.tree.pack_sequence_as(outputs, [array.astype("float32") for array in arrays.values()])


@dataclass(frozen=True, slots=True)
class TextVerdict:
    """The result of making the input of a certificate from its texts again, and of computing its task's outputs."""

    texts: list[Any]
    task: str | None
    """The task whose outputs the certificate has, or None."""
    holds: bool | None
    """Whether tokens and outputs are as stored, or None if a plugin is missing that could tell."""
    problem: str | None = None
    """The difference, or the missing plugin."""
    differences: Mapping[str, float] = field(default_factory=dict)
    """As in `Verdict`, for the outputs of the task."""


def replay_texts(
    folder: PresetFolder, certificate: Certificate, limit: float, overrides: Mapping[str, Any]
) -> TextVerdict | None:
    """Makes the stored input of its texts again, and the outputs of the preset's task; None without stored texts.

    Args:
        folder: The preset.
        certificate: Its certificate.
        limit: The largest relative difference of an output.
        overrides: Arguments for `from_preset` of the task.

    Raises:
        CertificateError: the texts of the certificate cannot be read.
    """
    metadata = certificate.tensors.header.metadata
    if TEXTS not in metadata:
        return None
    texts, name = _stored_texts(certificate), metadata.get(TASK)
    if not tokenizer_classes():
        return TextVerdict(texts, name, None, "no installed plugin reads tokenizers, so the texts were not checked")
    found = find_tokenizer(SmallFiles(folder, download=True))
    if found.tokenizer is None:
        return TextVerdict(texts, name, False, f"its tokenizer cannot be read: {found.problem or 'it has none'}")
    task = None
    if name is not None:
        task_class = loaded_class(name)
        if task_class is None:
            return TextVerdict(texts, name, None, f"no installed plugin provides {name}, so its texts were not checked")
        task = task_class.from_preset(str(folder.handle), **overrides)
    stored = {
        name.removeprefix("inputs/"): certificate.tensors.view(name)
        for name in certificate.tensors.header.entries
        if name.startswith("inputs/")
    }
    try:
        made = text_inputs(found.tokenizer, texts, stored, _LONGEST + 1)
        if not all(_is_small(array.shape) for array in made.values()):
            return TextVerdict(texts, name, False, f"its texts have more than {_MOST_NUMBERS:,} tokens")
        sample = _sample_again(task, found.tokenizer, texts, stored)
    except Exception as error:  # the texts are from a file, and tokenizer and task from plugins
        problem = f"its tokenizer cannot encode the certificate's texts ({exception_text(error)})"
        return TextVerdict(texts, name, False, problem)
    other = _other_tokens(sample.inputs, texts, stored)
    if other is not None or task is None:
        return TextVerdict(texts, name, other is None, other)
    return _compared_outputs(sample, certificate, texts, limit)


def _stored_texts(certificate: Certificate) -> list[Any]:
    try:
        texts = json.loads(certificate.tensors.header.metadata[TEXTS])
    except (ValueError, RecursionError):
        texts = None
    is_list = isinstance(texts, list) and 0 < len(texts) <= _MOST_TEXTS
    is_short = is_list and len(str(texts)) <= _MOST_CHARACTERS
    if not is_short or not all(isinstance(text, str | list) for text in texts):
        raise CertificateError(certificate.handle, "the texts of its certificate cannot be read", _SAVE_AGAIN)
    return list(texts)


def _sample_again(task: Any, tokenizer: PresetTokenizer, texts: list[Any], stored: Mapping[str, Any]) -> TextSample:
    """Returns the sample of a task, which cuts texts that are too long in its own way, or that of a tokenizer alone."""
    if task is not None:
        sample: TextSample = task.text_sample(texts)
        return sample
    length = max(array.shape[-1] for array in stored.values())
    return TextSample("", texts, text_inputs(tokenizer, texts, stored, length), ())


def _other_tokens(inputs: Mapping[str, Any], texts: list[Any], stored: Mapping[str, Any]) -> str | None:
    """Returns how the input that was made of the texts differs from the stored one, or None if it is the same."""
    if all(name in inputs and np.array_equal(array, inputs[name]) for name, array in stored.items()):
        return None
    ids, expected = (arrays.get("token_ids") for arrays in (inputs, stored))
    if ids is None or expected is None or len(ids) != len(texts) or len(expected) != len(texts):
        return "its tokenizer makes another input of the certificate's texts"
    row = next((n for n in range(len(texts)) if not np.array_equal(ids[n], expected[n])), 0)
    return (
        f"its tokenizer or the certificate changed: {texts[row]!r} is {ids[row][:_MOST_IDS].tolist()} now, and was "
        f"{expected[row][:_MOST_IDS].tolist()}"
    )


def _compared_outputs(sample: TextSample, certificate: Certificate, texts: list[Any], limit: float) -> TextVerdict:
    name, outputs = sample.task, flatten(TASK_OUTPUTS.rstrip("/"), sample.outputs)
    view = certificate.tensors.view
    stored = {key: view(key) for key in certificate.tensors.header.entries if key.startswith(TASK_OUTPUTS)}
    if _kinds(outputs) != _kinds(stored):
        return TextVerdict(texts, name, False, f"its certificate has other outputs than its {name}")
    names = {key: f"{name} {key.removeprefix(TASK_OUTPUTS)}" for key in stored} if len(stored) > 1 else {}
    differences = {names.get(key, name): difference(outputs[key], stored[key]) for key in stored}
    worst = max(differences.values(), default=math.nan)
    problem = None if worst <= limit else f"the outputs of its {name} differ by {worst:.1e} (limit {limit:.0e})"
    return TextVerdict(texts, name, problem is None, problem, differences)


def flatten(group: str, structure: Any) -> dict[str, Any]:
    """Flattens inputs or outputs to a table of tensors by name, such as `inputs/token_ids`, or `outputs/0` for one."""
    leaves = keras.tree.flatten_with_path(structure)
    return {f"{group}/{'/'.join(map(str, path)) or 0}": tensor for path, tensor in leaves}
