"""Planning: the figures equal those of the load; they come from headers, or from the config if files are remote."""

import contextlib
import dataclasses
from pathlib import Path

import pytest

import vertebra
from vertebra import LocalSource, PresetFile
from vertebra._discovery import runtimes
from vertebra._presets import plan as planning
from vertebra._presets.plan import plan_preset
from vertebra._presets.plans.devices import DevicesRequest
from vertebra.errors import LoraConfigError, PresetConfigError, WeightsFileError
from vertebra.specs import Device

pytestmark = pytest.mark.keras(once=True)

PARAMETERS = 6656
VECTORS = 400  # their numbers, which are whole on each device


@pytest.mark.keras
@pytest.mark.parametrize("preset", ["transformers", "transformers_sharded", "kerashub", "kerashub_sharded"])
def test_each_format_has_the_parameters_that_a_load_has(golden, preset):
    plan = plan_preset(str(golden / preset))
    weights = [path for path in (golden / preset).iterdir() if path.name.startswith("model")]
    assert (plan.parameters, plan.weights, plan.converted) == (PARAMETERS, 4 * PARAMETERS, 0)
    assert (plan.format, plan.backbone) == (preset.removesuffix("_sharded"), "BertBackbone")
    assert plan.files == sum(path.stat().st_size for path in [*weights, golden / preset / "config.json"])
    assert plan.to_fetch == 0
    assert plan.train_all == 12 * PARAMETERS
    assert (plan.lora_parameters, plan.train_lora) == (None, None)


def test_a_head_is_not_counted(golden):
    pooler = 16 * 16 + 16
    assert plan_preset(str(golden / "transformers_head")).parameters == PARAMETERS - pooler


@pytest.mark.parametrize(
    ("preset", "dtype", "each", "converted"),
    [
        ("transformers", None, 4, 0),
        ("transformers", "float32", 4, 0),
        ("transformers", "bfloat16", 2, 2),
        ("transformers", "mixed_bfloat16", 4, 0),
        ("transformers", "float64", 8, 8),
        ("transformers_bf16", "bfloat16", 2, 0),
        ("transformers_bf16", "float16", 2, 2),
        ("transformers_bf16", None, 4, 4),
        ("transformers_bf16", "mixed_float16", 4, 4),
    ],
)
def test_what_is_stored_in_another_dtype_is_new_memory(golden, preset, dtype, each, converted):
    plan = plan_preset(str(golden / preset), dtype)
    assert (plan.weights, plan.converted) == (each * PARAMETERS, converted * PARAMETERS)


def test_quantised_kernels_stay_as_they_are(backbone, tmp_path):
    backbone.get_layer("pooled_dense").quantize("int8")
    backbone.save_to_preset(tmp_path / "preset")
    floats, integers = PARAMETERS - 256 + 16, 256  # the scale of each column is new
    for dtype, each in (("float32", 4), ("bfloat16", 2)):
        assert plan_preset(str(tmp_path / "preset"), dtype).weights == each * floats + integers


@pytest.mark.parametrize("rank", [1, 8])
def test_an_adapter_has_the_parameters_that_attaching_it_adds(golden, rank):
    plan = plan_preset(str(golden / "transformers"), lora_rank=rank)
    receipt = vertebra.Backbone.from_preset(golden / "transformers").enable_lora(rank)
    assert plan.lora_parameters == receipt.parameters_added
    assert plan.train_lora == 16 * receipt.parameters_added  # values, gradients and two moments, of 4 bytes each


@pytest.mark.parametrize("rank", [0, -1, 10**9])
def test_a_rank_that_is_none_is_refused(golden, rank):
    with pytest.raises(LoraConfigError):
        plan_preset(str(golden / "transformers"), lora_rank=rank)


@pytest.mark.parametrize("dtype", ["float33", "int8", "int8_from_float32", "mixed_float32", "Float32"])
def test_an_unknown_dtype_is_refused_with_those_that_are_known(golden, dtype):
    with pytest.raises(PresetConfigError, match="mixed_bfloat16"):
        plan_preset(str(golden / "transformers"), dtype)


def test_a_preset_without_weights_has_no_plan(backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "preset")
    (tmp_path / "preset" / "model.safetensors").unlink()
    with pytest.raises(WeightsFileError):
        plan_preset(str(tmp_path / "preset"))


# === Remote files ===


class FarSource(LocalSource):
    """Serves the presets of a folder as if they were remote."""

    scheme = "far"
    supports_absolute_paths = True

    def __init__(self, here=()):
        self.fetched, self.here = [], here

    def files(self, handle):
        found = [path for path in self.folder(handle).iterdir() if path.is_file()]
        return [PresetFile(path.name, path.stat().st_size, path if path.name in self.here else None) for path in found]

    def fetch(self, handle, name):
        self.fetched.append(name)
        return self.folder(handle) / name

    def folder(self, handle):

        return Path(handle.path)


@contextlib.contextmanager
def far(plugin, **kwargs):
    source = FarSource(**kwargs)
    with plugin(vertebra_preset_sources=lambda: [source]):
        yield source


@pytest.mark.parametrize("preset", ["transformers", "transformers_sharded", "kerashub", "kerashub_sharded"])
def test_only_the_config_is_fetched_and_the_rest_is_counted(golden, plugin, preset):
    near = plan_preset(str(golden / preset), lora_rank=4)
    with far(plugin) as source:
        plan = plan_preset(f"far://{golden / preset}", lora_rank=4)
    assert set(source.fetched) == {"config.json"}
    assert plan.to_fetch == plan.files == near.files
    assert dataclasses.replace(plan, handle="", to_fetch=0, free=0) == dataclasses.replace(near, handle="", free=0)


@pytest.mark.parametrize("preset", ["transformers", "kerashub_sharded"])
def test_many_devices_are_planned_without_the_files(golden, plugin, preset):
    request = DevicesRequest(2, train="lora", rank=4)
    near = plan_preset(str(golden / preset), devices=request).devices
    with far(plugin) as source:
        plan = plan_preset(f"far://{golden / preset}", devices=request)
    assert set(source.fetched) == {"config.json"}
    assert plan.devices == near
    receipt = vertebra.Backbone.from_preset(golden / preset).enable_lora(4)
    assert near.adapter_parameters == receipt.parameters_added
    assert near.meshes[0].weights == 4 * (near.adapter_parameters + (PARAMETERS + VECTORS) // 2)


def test_what_is_here_already_is_not_to_be_fetched(golden, plugin):
    with far(plugin, here=("config.json",)):
        plan = plan_preset(f"far://{golden / 'transformers'}")
    assert plan.to_fetch == (golden / "transformers" / "model.safetensors").stat().st_size


def test_a_tokenizer_is_not_part_of_a_load(backbone, tmp_path, plugin):
    backbone.save_to_preset(tmp_path / "preset")
    before = plan_preset(str(tmp_path / "preset")).files
    (tmp_path / "preset" / "tokenizer.json").write_text("x" * 10_000)
    with far(plugin):
        assert plan_preset(f"far://{tmp_path / 'preset'}").to_fetch == before


# === Free memory ===


@pytest.mark.parametrize(("free", "fits"), [(None, None), (99, False), (100, True)])
def test_it_fits_where_so_much_is_free(golden, monkeypatch, free, fits):
    monkeypatch.setattr(planning, "host_memory", lambda: _Memory(free))
    plan = plan_preset(str(golden / "transformers"))
    assert (plan.device, plan.free, plan.fits(100)) == ("memory", free, fits)


@dataclasses.dataclass
class _Memory:
    free: int | None


@pytest.mark.keras
@pytest.mark.parametrize(("kind", "free"), [("cpu", 7), ("gpu", 5)])
def test_a_device_has_its_own_memory_and_a_processor_the_machines(golden, monkeypatch, runtime, kind, free):
    bound = type(runtimes.bind())
    monkeypatch.setattr(bound, "devices", lambda self: [Device("first", kind, 9, 5), Device("second", kind, 9, 9)])
    monkeypatch.setattr(planning, "host_memory", lambda: _Memory(7))
    plan = plan_preset(str(golden / "transformers"), runtime=runtime)
    assert (plan.device, plan.free) == ("first", free)
    given = DevicesRequest(2), DevicesRequest(2, memory=3)
    plans = [plan_preset(str(golden / "transformers"), runtime=runtime, devices=devices) for devices in given]
    assert [plan.devices.memory for plan in plans] == [free, 3]
