"""The state dict of a backbone on torch: each weight once, by a name that every process gives it."""

import io

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_torch(torch):
    """Skips these tests on other runtimes."""


@pytest.fixture
def other(arguments):
    """A backbone of other values, which was made later in the process."""

    def make(adapted=False):
        backbone = vertebra.models.BertBackbone(**arguments | {"dropout": 0.5})
        if adapted:
            backbone.enable_lora(2)
        return backbone

    return make


@pytest.mark.parametrize("adapted", [False, True])
def test_a_state_dict_fits_another_backbone(torch, other, run, adapted):
    backbone, buffer = other(adapted), io.BytesIO()
    torch.save(backbone.state_dict(), buffer)
    buffer.seek(0)
    later = other(adapted)
    assert str(later.load_state_dict(torch.load(buffer))) == "<All keys matched successfully>"
    assert np.array_equal(run(later)["sequence_output"], run(backbone)["sequence_output"])


def test_names_are_those_of_the_layers(backbone):
    backbone.enable_lora(2)
    names = list(backbone.state_dict())
    assert names == [name.replace("/", ".") for name in backbone.named_weights()]
    assert {"pooled_dense.kernel", "transformer_layer_0.self_attention.query.lora.a"} <= set(names)


def test_tensors_are_the_weights_themselves(backbone):
    weights = backbone.named_weights()
    for name, tensor in backbone.state_dict().items():
        assert tensor.data_ptr() == weights[name.replace(".", "/")].value.data_ptr()
        assert not tensor.requires_grad
    assert backbone.state_dict(keep_vars=True)["pooled_dense.kernel"].requires_grad


def test_a_module_around_a_backbone_saves_and_loads_it(torch, other, run):
    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = other(), torch.nn.Linear(16, 2)

    one, two = Classifier(), Classifier()
    states = one.state_dict()
    assert {name.partition(".")[0] for name in states} == {"backbone", "head"}
    assert len(states) == len(one.backbone.weights) + 2
    two.load_state_dict(states, assign=True)
    assert np.array_equal(run(two.backbone)["pooled_output"], run(one.backbone)["pooled_output"])
    two.backbone.pooled_dense.bias.assign(np.ones(16))  # still Keras's own variable
    assert two.state_dict()["backbone.pooled_dense.bias"].sum() == 16


def test_what_does_not_fit_is_named_as_the_state_dict_names_it(torch, other):
    states = other().state_dict()
    states["pooled_dense.kernel_2"] = states.pop("pooled_dense.kernel")
    missing, unexpected = other().load_state_dict(states, strict=False)
    assert (missing, unexpected) == (["pooled_dense.kernel"], ["pooled_dense.kernel_2"])
    with pytest.raises(RuntimeError, match=r"size mismatch for pooled_dense\.bias: its shape is \(3,\)"):
        other().load_state_dict(other().state_dict() | {"pooled_dense.bias": torch.zeros(3)})


def test_all_parameters_can_be_frozen_in_torch(backbone):
    backbone.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


DISTRIBUTED = """
import sys
import torch, vertebra
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel
rank, port, preset = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group("gloo", f"file://{port}", rank=rank, world_size=2)
backbone = vertebra.Backbone.from_preset(preset)
backbone.enable_lora(2, seed=0)
parallel = DistributedDataParallel(backbone)
optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1)
ids = torch.full((2, 5), 3 + rank, dtype=torch.int32)
for _ in range(2):
    outputs = parallel({"token_ids": ids, "segment_ids": ids * 0, "padding_mask": ids * 0 + 1})
    outputs["sequence_output"].square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
trained = {name: value for name, value in parallel.state_dict().items() if name.endswith(".lora.b")}
print(sorted(trained)[0], sum(float(value.abs().sum()) for value in trained.values()))
"""


def test_two_processes_train_one_adapter(golden, tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-c", DISTRIBUTED]
    arguments = [str(tmp_path / "store"), str(golden / "transformers")]
    started = [
        subprocess.Popen([*command, str(rank), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    one, other = (printed.split() for printed, _ in outputs)
    assert one == other
    assert one[0] == "module.transformer_layer_0.self_attention.query.lora.b"
    assert float(one[1]) > 0


def test_floats_do_not_become_integers(torch, golden):
    backbone = vertebra.Backbone.from_preset(golden / "kerashub_int8")
    states = backbone.state_dict()
    name = next(name for name, tensor in states.items() if tensor.dtype == torch.int8)
    with pytest.raises(RuntimeError, match=rf"dtype mismatch for {name}: its dtype is torch.float32"):
        backbone.load_state_dict(states | {name: torch.zeros(states[name].shape)})


@pytest.mark.parametrize("adapted", [False, True])
def test_distributed_checkpoints_have_the_same_names(torch, other, adapted):
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

    one, two = other(adapted), other(adapted)
    states = get_model_state_dict(one)
    assert list(states) == list(one.state_dict())
    set_model_state_dict(two, states)
    assert all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in states.items())


def test_a_name_of_no_weight_is_no_attribute(backbone):
    assert backbone.transformer_layer_0.self_attention.query.kernel is not None
    for name in ("transformer_layer_9", "transformer_layer"):
        with pytest.raises(AttributeError, match=name):
            getattr(backbone, name)
    with pytest.raises(AttributeError, match=r"transformer_layer_0\.other"):
        backbone.transformer_layer_0.other  # noqa: B018
