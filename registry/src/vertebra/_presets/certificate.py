"""A preset's parity certificate: a small input and the output that the backbone gave for it when it was saved.

Replaying it shows that weights, code and runtime together still compute what they did.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._presets.certificate_header import CERTIFICATE, Certificate, digest_of_config
from vertebra._resolve.preset_folder import CONFIG
from vertebra._weights.quantized import quantization_plan
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.errors import CertificateError
from vertebra.handles import PresetHandle

_LIMITS = {"float64": 5e-6, "float32": 5e-6, "float16": 4e-3, "bfloat16": 3e-2}
"""Largest relative difference of an output, by the dtype that was computed in.

Measured on decoders of 12 layers in float32: 3e-7 between runtimes on a CPU, 1.2e-5 for the wrong variant of GELU.
"""
_TENSOR_CORES = 3e-3
"""The same for float32 on an accelerator, which may multiply with 10 bits of mantissa (NVIDIA's TF32)."""
_QUANTIZED = 1e-2
"""The same where inputs of layers are rounded to integers: a tie may fall to the other side."""
_ANEW = "Check that config and certificate belong together, or save the preset again"
_MOST_ITEMS = 2**20
"""Numbers in one input: a certificate from elsewhere must not ask for more memory than the weights."""
log = logging.getLogger("vertebra")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What replaying a certificate showed."""

    differences: dict[str, float]
    """Difference of each output relative to its size, both as Euclidean norms."""
    limits: dict[str, float]
    """What it may be."""
    saved_with: dict[str, str]
    """Runtime and dtype that the outputs were computed with."""
    same_config: bool = True
    """Whether `config.json` is the one that the certificate was made with."""

    @property
    def holds(self) -> bool:
        """Whether every output is within its limit; one that is not a number is not."""
        return self.same_config and not self.failures

    @property
    def failures(self) -> list[str]:
        """Outputs that are beyond their limit, or that have none because what was stored is not finite."""
        return [name for name, limit in self.limits.items() if not self.differences[name] <= limit < math.inf]


def write_certificate(backbone: Any, stage: Path) -> None:
    """Runs the backbone on a sample and stores both; a backbone that cannot run on one is saved without."""
    try:
        tensors = _tensors(backbone)
    except Exception as error:
        log.warning("The preset has no parity certificate: its sample could not be computed (%s)", error)
        return
    if not all(np.isfinite(array).all() for array in tensors.values()):
        log.warning("The preset has no parity certificate: its outputs for the sample are not finite")
        return
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in tensors.items()}
    arrays = {name: partial(np.asarray, array) for name, array in tensors.items()}
    digest = digest_of_config(stage / CONFIG)
    facts = {"runtime": keras.config.backend(), "dtype": str(backbone.compute_dtype), "config": digest}
    write_tensors(stage / CERTIFICATE, arrays, layouts, facts)


def _tensors(backbone: Any) -> dict[str, np.ndarray[Any, Any]]:
    inputs = backbone.sample_inputs()
    named = _named("inputs", inputs) | _named("outputs", _run(backbone, inputs))
    return {name: np.asarray(array) for name, array in named.items()}


def replay(backbone: Any, certificate: Certificate) -> Verdict:
    """Runs the backbone on the stored input and compares.

    Raises:
        CertificateError: the certificate is of another architecture.
    """
    handle, tensors = certificate.handle, certificate.tensors
    stored = {name: tensors.view(name) for name in tensors.header.entries}
    facts = {name: tensors.header.metadata.get(name, "") for name in ("runtime", "dtype")}
    sample = backbone.sample_inputs()
    inputs = _stored_inputs(handle, stored, sample)
    try:
        outputs = _named("outputs", _run(backbone, keras.tree.pack_sequence_as(sample, inputs)))
    except Exception as error:  # numbers that no vocabulary has, or whatever else the layers refuse
        problem = f"the backbone cannot compute its input ({type(error).__name__}: {error})"
        raise CertificateError(handle, problem, _ANEW) from error
    expected = {name: array for name, array in stored.items() if not name.startswith("inputs/")}
    if _kinds(outputs) != _kinds(expected):
        raise CertificateError(handle, "its certificate has other outputs than the backbone gives", _ANEW)
    limit = max(_limit(backbone, str(backbone.compute_dtype)), _limit(backbone, facts["dtype"]))
    differences = {name.removeprefix("outputs/"): _difference(outputs[name], expected[name]) for name in expected}
    return Verdict(differences, dict.fromkeys(differences, limit), facts, certificate.same_config)


def _stored_inputs(handle: PresetHandle, stored: Mapping[str, Any], sample: Any) -> list[Any]:
    """Returns the stored inputs in the order of the sample's, after comparing their kinds with it."""
    wanted = _named("inputs", sample)
    found = {name: stored[name] for name in stored if name.startswith("inputs/")}
    kinds, expected = ({name: (a.dtype, a.ndim) for name, a in arrays.items()} for arrays in (found, wanted))
    if kinds != expected or any(array.size > _MOST_ITEMS for array in found.values()):
        raise CertificateError(handle, "its certificate has other inputs than the backbone takes", _ANEW)
    return [found[name] for name in wanted]


def _kinds(arrays: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}


def check(backbone: Any, certificate: Certificate) -> None:
    """Replays a certificate, and raises if an output is beyond its limit."""
    verdict = replay(backbone, certificate)
    if not verdict.same_config:
        raise CertificateError(certificate.handle, "its config.json is not the one that was certified", _ANEW)
    log.info("%s: certificate replayed, differences %s", certificate.handle, verdict.differences)
    if not verdict.holds:
        worst = ", ".join(
            f"{name} differs by {difference:.2e} (limit {verdict.limits[name]:.0e})"
            for name, difference in verdict.differences.items()
            if name in verdict.failures
        )
        remedy = "Weights, code or runtime changed since it was saved: fetch it again, or compare the versions"
        raise CertificateError(certificate.handle, f"outputs are not those of its certificate: {worst}", remedy)


def carry_certificate(certificate: Certificate, stage: Path) -> None:
    """Writes a preset's certificate beside the same weights under another config."""
    file = certificate.tensors
    arrays = {name: partial(file.view, name) for name in file.header.entries}
    facts = file.header.metadata | {"config": digest_of_config(stage / CONFIG)}
    write_tensors(stage / CERTIFICATE, arrays, file.header.entries, facts)


def _difference(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    size = float(np.linalg.norm(expected.astype("float64")))
    return float(np.linalg.norm(found.astype("float64") - expected)) / (size or 1.0)


def _limit(backbone: Any, dtype: str) -> float:
    limit = _LIMITS.get(dtype, _LIMITS["float32"])
    if quantization_plan(backbone):
        limit = max(limit, _QUANTIZED)
    on_accelerator = any(device.kind != "cpu" for device in runtimes.bind().devices()[:1])
    return max(limit, _TENSOR_CORES) if on_accelerator else limit


def _run(backbone: Any, inputs: Any) -> Any:
    outputs = backbone(inputs, training=False)
    return keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).astype("float32"), outputs)


def _named(group: str, structure: Any) -> dict[str, Any]:
    """Flattens inputs or outputs to a table; a single tensor has a name, too."""
    leaves = keras.tree.flatten_with_path(structure)
    return {f"{group}/{'/'.join(map(str, path)) or 0}": tensor for path, tensor in leaves}
