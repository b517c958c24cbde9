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

from vertebra._presets.folder import PresetFolder
from vertebra._weights.safetensors import MappedTensors, layout_of, write_tensors
from vertebra.errors import CertificateError

CERTIFICATE = "certificate.safetensors"
_TOLERANCES = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Share of the largest output by which one may differ, by the dtype that was computed in."""
_ANEW = "Check that config and certificate belong together, or save the preset again"
_MOST_ITEMS = 2**20
"""Numbers in one input: a certificate from elsewhere must not ask for more memory than the weights."""
log = logging.getLogger("vertebra")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What replaying a certificate showed."""

    differences: dict[str, float]
    """Largest absolute difference of each output."""
    limits: dict[str, float]
    """What it may be."""
    saved_with: dict[str, str]
    """Runtime and dtype that the outputs were computed with."""

    @property
    def holds(self) -> bool:
        """Whether every output is within its limit; one that is not a number is not."""
        return not self.failures

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
    facts = {"runtime": keras.config.backend(), "dtype": str(backbone.compute_dtype)}
    write_tensors(stage / CERTIFICATE, arrays, layouts, facts)


def _tensors(backbone: Any) -> dict[str, np.ndarray[Any, Any]]:
    inputs = backbone.sample_inputs()
    named = _named("inputs", inputs) | _named("outputs", _run(backbone, inputs))
    return {name: np.asarray(array) for name, array in named.items()}


def replay(backbone: Any, folder: PresetFolder) -> Verdict:
    """Runs the backbone on the stored input and compares.

    Raises:
        CertificateError: the preset has no certificate, or one of another architecture.
        WeightsFileError: the certificate is unsound.
    """
    if CERTIFICATE not in folder.names:
        raise CertificateError(folder.handle, "it has no certificate", "Save it again with save_to_preset to make one")
    file = MappedTensors(folder.fetch(CERTIFICATE))
    stored = {name: file.view(name) for name in file.header.entries}
    facts = {name: file.header.metadata.get(name, "") for name in ("runtime", "dtype")}
    sample = backbone.sample_inputs()
    inputs = _stored_inputs(folder, stored, sample)
    try:
        outputs = _named("outputs", _run(backbone, keras.tree.pack_sequence_as(sample, inputs)))
    except Exception as error:  # numbers that no vocabulary has, or whatever else the layers refuse
        problem = f"the backbone cannot compute its input ({type(error).__name__}: {error})"
        raise CertificateError(folder.handle, problem, _ANEW) from error
    expected = {name: array for name, array in stored.items() if not name.startswith("inputs/")}
    if _kinds(outputs) != _kinds(expected):
        raise CertificateError(folder.handle, "its certificate has other outputs than the backbone gives", _ANEW)
    return _compare(outputs, expected, facts, str(backbone.compute_dtype))


def _stored_inputs(folder: PresetFolder, stored: Mapping[str, Any], sample: Any) -> list[Any]:
    """Returns the stored inputs in the order of the sample's, after comparing their kinds with it."""
    wanted = _named("inputs", sample)
    found = {name: stored[name] for name in stored if name.startswith("inputs/")}
    kinds, expected = ({name: (a.dtype, a.ndim) for name, a in arrays.items()} for arrays in (found, wanted))
    if kinds != expected or any(array.size > _MOST_ITEMS for array in found.values()):
        raise CertificateError(folder.handle, "its certificate has other inputs than the backbone takes", _ANEW)
    return [found[name] for name in wanted]


def _kinds(arrays: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}


def check(backbone: Any, folder: PresetFolder) -> None:
    """Replays the certificate, and raises if an output is beyond its limit."""
    verdict = replay(backbone, folder)
    log.info("%s: certificate replayed, differences %s", folder.handle, verdict.differences)
    if not verdict.holds:
        worst = ", ".join(
            f"{name} differs by {difference:.2e} (limit {verdict.limits[name]:.0e})"
            for name, difference in verdict.differences.items()
            if name in verdict.failures
        )
        remedy = "Weights, code or runtime changed since it was saved: fetch it again, or compare the versions"
        raise CertificateError(folder.handle, f"outputs are not those of its certificate: {worst}", remedy)


def _compare(
    outputs: Mapping[str, Any], expected: Mapping[str, Any], saved_with: dict[str, str], dtype: str
) -> Verdict:
    share = max(_TOLERANCES.get(name, _TOLERANCES["float32"]) for name in (dtype, saved_with["dtype"]))
    differences, limits = {}, {}
    for path, array in expected.items():
        name = path.removeprefix("outputs/")
        differences[name] = float(np.abs(outputs[path] - array).max(initial=0.0))
        limits[name] = share * max(1.0, float(np.abs(array).max(initial=0.0)))
    return Verdict(differences, limits, saved_with)


def _run(backbone: Any, inputs: Any) -> Any:
    outputs = backbone(inputs, training=False)
    return keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).astype("float32"), outputs)


def _named(group: str, structure: Any) -> dict[str, Any]:
    """Flattens inputs or outputs to a table; a single tensor has a name, too."""
    leaves = keras.tree.flatten_with_path(structure)
    return {f"{group}/{'/'.join(map(str, path)) or 0}": tensor for path, tensor in leaves}
