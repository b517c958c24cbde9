"""A preset's parity certificate: a small input and the output that the backbone gave for it when it was saved.

Replaying it shows that weights, code and runtime together still compute what they did.
"""

from __future__ import annotations

import logging
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
        return all(self.differences[name] <= limit for name, limit in self.limits.items())


def write_certificate(backbone: Any, stage: Path) -> None:
    """Runs the backbone on a sample and stores both; a backbone that cannot run on one is saved without."""
    try:
        inputs = backbone.sample_inputs()
        tensors = _named("inputs", inputs) | _named("outputs", _run(backbone, inputs))
    except Exception as error:
        log.warning("The preset has no parity certificate: its sample could not be computed (%s)", error)
        return
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in tensors.items()}
    arrays = {name: partial(np.asarray, array) for name, array in tensors.items()}
    facts = {"runtime": keras.config.backend(), "dtype": str(backbone.compute_dtype)}
    write_tensors(stage / CERTIFICATE, arrays, layouts, facts)


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
    inputs = {name: stored.get(name) for name in _named("inputs", sample)}
    if any(array is None for array in inputs.values()):
        raise CertificateError(
            folder.handle, "its certificate has other inputs than the backbone takes", "Save it anew"
        )
    outputs = _named("outputs", _run(backbone, keras.tree.pack_sequence_as(sample, list(inputs.values()))))
    expected = {name: array for name, array in stored.items() if name.startswith("outputs/")}
    if {name: a.shape for name, a in outputs.items()} != {name: a.shape for name, a in expected.items()}:
        raise CertificateError(folder.handle, "its certificate has outputs of another shape", "Save it anew")
    return _compare(outputs, expected, facts, str(backbone.compute_dtype))


def check(backbone: Any, folder: PresetFolder) -> None:
    """Replays the certificate, and raises if an output is beyond its limit."""
    verdict = replay(backbone, folder)
    log.info("%s: certificate replayed, differences %s", folder.handle, verdict.differences)
    if not verdict.holds:
        worst = ", ".join(
            f"{name} differs by {difference:.2e} (limit {verdict.limits[name]:.0e})"
            for name, difference in verdict.differences.items()
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
    if isinstance(structure, Mapping):
        return {f"{group}/{name}": structure[name] for name in sorted(structure)}
    parts = structure if isinstance(structure, list | tuple) else [structure]
    return {f"{group}/{number}": part for number, part in enumerate(parts)}
