"""Rules for presets and Keras files, here, in new processes and on other runtimes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery.runtimes import available, bind
from vertebra._weights.safetensors.format import open_header
from vertebra.specs import BackboneSpec
from vertebra.testing import processes
from vertebra.testing.backbones.comparing import Arrays, address_of, arrays_of, computed, largest_difference
from vertebra.testing.backbones.fixtures import NO_LAYERS, BackboneFixtures, Build, adapted
from vertebra.testing.plugins import use_plugin
from vertebra.testing.rules import rule

PRESET, EXTENDED, ADAPTED = "preset", "extended.keras", "adapted.keras"
DIVIDED = "divided"
"""The preset, with its weights divided between two devices."""
FILES = (PRESET, EXTENDED, ADAPTED, DIVIDED)
_PROGRAM = """
import os, sys
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
from vertebra.testing.backbones.files import compute_stored

compute_stored(*sys.argv[1:])
"""


@dataclass(frozen=True)
class Stored:
    """Files of a backbone, and the outputs that each had before it was saved."""

    folder: Path
    outputs: Mapping[str, Arrays]

    def computed_on(self, runtime: str, entry_module: str, files: Sequence[str], wanted: str) -> Arrays:
        """Returns the outputs of one of some files that a new process computes on a runtime; it runs only once.

        Raises:
            AssertionError: it failed with that file.
        """
        name = f"{self.folder / wanted}.{runtime}"
        if not Path(f"{name}.npz").exists() and not Path(f"{name}.txt").exists():
            kept = [file for file in files if file in self.outputs]
            processes.run_python(_PROGRAM, self.folder, entry_module, runtime, *kept, runtime=runtime)
        assert not Path(f"{name}.txt").exists(), Path(f"{name}.txt").read_text(encoding="utf-8")
        return dict(np.load(f"{name}.npz"))


class FileRules(BackboneFixtures):
    """Rules for files."""

    @pytest.fixture
    def stored(
        self,
        build: Build,
        inputs: Any,
        spec: BackboneSpec,
        key: tuple[Any, ...],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Stored:
        """A preset, a model that extends the backbone, and an adapted backbone, in files that several tests read."""
        if (key, "stored") not in self._shared:
            is_divided = bool(spec.layout) and keras.config.backend() == "jax"
            self._shared[key, "stored"] = _store(build, inputs, tmp_path_factory.mktemp("stored"), is_divided)
        stored: Stored = self._shared[key, "stored"]
        return stored

    @rule("BB-15")
    def test_a_preset_of_each_format_computes_the_same(
        self,
        build: Build,
        inputs: Any,
        formats: Sequence[str],
        format_arguments: Mapping[str, Mapping[str, Any]],
        tolerance: float,
        tmp_path: Path,
    ) -> None:
        """A preset that is saved in any format of the spec loads, holds its certificate and computes the same."""
        for format in formats:
            backbone = build(**format_arguments.get(format, {}))
            backbone.save_to_preset(tmp_path / format, format=format)
            again = vertebra.Backbone.from_preset(tmp_path / format, verify=True)
            assert type(again) is type(backbone), f"the format {format}"
            gap = largest_difference(computed(again, inputs), computed(backbone, inputs))
            assert gap <= tolerance, f"outputs of the format {format} differ by {gap:.2g}"
            if format == "native":
                assert again.get_config() == backbone.get_config() | {"name": again.name}

    @rule("BB-16")
    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the mappings of a process in a file")
    def test_loading_copies_no_weight(self, stored: Stored) -> None:
        """Weights of a native preset are views of the mapped file, wherever the runtime can view them."""
        if any(device.kind != "cpu" for device in bind().devices()[:1]):
            pytest.skip("weights are copied to the device")
        loaded = vertebra.Backbone.from_preset(stored.folder / PRESET)
        path = stored.folder / PRESET / "model.safetensors"
        mapped, entries = _mapped(path), open_header(path).entries
        viewed = [name for name, entry in entries.items() if entry.size and bind().can_view(entry.start, True)]
        weights = loaded.named_weights()
        assert [name for name in viewed if not any(address_of(weights[name].value) in span for span in mapped)] == []

    @rule("BB-17")
    def test_every_runtime_computes_the_same(
        self, stored: Stored, spec: BackboneSpec, entry_module: str, tolerance: float
    ) -> None:
        """A preset that is loaded in a new process computes the same numbers on every installed runtime."""
        for runtime in (one for one in available() if spec.computes_on(one.name)):
            files = FILES if runtime.name == keras.config.backend() else (PRESET,)
            found = stored.computed_on(runtime.name, entry_module, files, PRESET)
            gap = largest_difference(found, stored.outputs[PRESET])
            assert gap <= tolerance, f"outputs on {runtime.name} differ by {gap:.2g}"

    @rule("BB-18")
    @pytest.mark.parametrize("file", [EXTENDED, ADAPTED])
    def test_a_keras_file_loads_in_a_new_process(
        self, stored: Stored, file: str, entry_module: str, tolerance: float
    ) -> None:
        """`.keras` files of a model that extends it, and of an adapted backbone, compute the same in a new process."""
        if file not in stored.outputs:
            pytest.skip(NO_LAYERS)
        found = stored.computed_on(keras.config.backend(), entry_module, FILES, file)
        assert largest_difference(found, stored.outputs[file]) <= tolerance


def _store(build: Build, inputs: Any, folder: Path, is_divided: bool) -> Stored:
    backbone = build()
    backbone.save_to_preset(folder / PRESET)
    outputs = {PRESET: computed(backbone, inputs)}
    if is_divided:
        outputs[DIVIDED] = outputs[PRESET]
    np.savez(folder / "inputs.npz", *keras.tree.flatten(inputs))
    last = keras.layers.Rescaling(0.5, name="head")(keras.tree.flatten(backbone.output)[0])
    extended = keras.Model(backbone.input, last)
    extended.save(folder / EXTENDED)
    outputs[EXTENDED] = computed(extended, inputs)
    if adapted(backbone):
        backbone.save(folder / ADAPTED)
        outputs[ADAPTED] = computed(backbone, inputs)
    return Stored(folder, outputs)


def compute_stored(folder: str, entry_module: str, runtime: str, *files: str) -> None:
    """Computes with files of `Stored` in this process, and writes the outputs, or the error, next to them."""
    use_plugin(entry_module)
    arrays = list(np.load(Path(folder, "inputs.npz")).values())
    for file in files:
        path = f"{folder}/{file}"
        try:
            model = _loaded(folder, file)
            inputs = keras.tree.pack_sequence_as(model.input, arrays)
            # One call is compiled, which takes less time than to compile its operations one by one.
            compiles = len(files) == 1 or file == DIVIDED
            outputs = arrays_of(vertebra.compile(model)(inputs)) if compiles else computed(model, inputs)
            np.savez(f"{path}.{runtime}.npz", **outputs)  # type: ignore[arg-type]
        except Exception:  # of any code of the plugin; the other files are still to be computed with
            Path(f"{path}.{runtime}.txt").write_text(traceback.format_exc(), encoding="utf-8")


def _loaded(folder: str, file: str) -> Any:
    path = f"{folder}/{PRESET if file == DIVIDED else file}"
    if file == DIVIDED:
        mesh = keras.distribution.DeviceMesh((2,), ("tensor",), keras.distribution.list_devices()[:2])
        divided = vertebra.Backbone.from_preset(path, mesh=mesh, on_uneven="replicate")
        assert any("tensor" in axes for weight in divided.placement.weights.values() for axes in weight.divided)
        return divided
    return vertebra.Backbone.from_preset(path) if file == PRESET else vertebra.load_model(path, compile=False)


def _mapped(path: Path) -> list[range]:
    """Returns the ranges of addresses at which this process has mapped a file."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(start, 16), int(end, 16)) for start, end in spans]
