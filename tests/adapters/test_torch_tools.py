"""Tools of torch on a backbone, and on a module that contains one: export, functional calls, FSDP, whole models."""

import io

import numpy as np
import pytest

import vertebra
from vertebra.errors import DtypeChangeError, ReplacedWeightsError

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_torch(torch):
    """Skips these tests on other runtimes."""


@pytest.fixture
def make(arguments):
    def backbone(adapted=False, **options):
        made = vertebra.models.BertBackbone(**arguments | options)
        if adapted:
            made.enable_lora(2)
        return made

    return backbone


@pytest.fixture
def around(torch):
    """Returns a module that computes one output of a backbone."""

    class Around(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def forward(self, inputs):
            return self.backbone(inputs)["sequence_output"]

    return Around


@pytest.fixture
def tensors(torch, inputs):
    return {name: torch.as_tensor(np.asarray(value)) for name, value in inputs.items()}


def output(model, tensors):
    outputs = model(tensors)
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs


@pytest.fixture(params=["backbone", "around"])
def modules(request, around):
    """Returns a backbone itself, or the module around it."""
    return around if request.param == "around" else lambda backbone: backbone


def test_a_weight_is_found_by_its_name_in_the_state_dict(torch, make):
    backbone = make(adapted=True)
    for name, tensor in backbone.state_dict(keep_vars=True).items():
        assert backbone.get_parameter(name) is tensor
    name, parameter = next(iter(backbone.named_parameters()))
    assert backbone.get_parameter(name) is parameter
    with pytest.raises(AttributeError, match="other"):
        backbone.get_parameter("pooled_dense.other")


def test_gradients_are_set_for_what_can_be_trained(make):
    backbone = make(dropout=0.1)
    weights = [weight.value for weight in backbone.named_weights().values()]
    for trains in (False, True):
        backbone.requires_grad_(trains)
        assert {weight.requires_grad for weight in weights} == {trains}


def test_only_the_adapter_trains_after_freezing_and_thawing(make):
    backbone = make(adapted=True, dropout=0.1)
    before = [parameter.requires_grad for parameter in backbone.parameters()]
    assert not any(parameter.requires_grad for parameter in backbone.requires_grad_(False).parameters())
    assert [parameter.requires_grad for parameter in backbone.requires_grad_(True).parameters()] == before
    assert sum(before) == 8  # the factors of query and value in two layers


def test_an_average_of_weights_is_theirs(torch, make, tensors):
    backbone = make(dropout=0.1)
    average = torch.optim.swa_utils.AveragedModel(backbone)
    average.update_parameters(backbone)
    assert torch.equal(output(average.module, tensors), output(backbone, tensors))


@pytest.mark.parametrize("adapted", [False, True])
def test_a_functional_call_computes_with_the_given_tensors(torch, make, modules, tensors, adapted):
    one, two = modules(make(adapted)), modules(make(adapted))
    expected, before = output(one, tensors), output(two, tensors)
    others = dict(zip(dict(two.named_parameters()), dict(one.named_parameters()).values(), strict=True))
    called = torch.func.functional_call(two, others, (tensors,))
    assert torch.equal(called if torch.is_tensor(called) else called["sequence_output"], expected)
    assert torch.equal(output(two, tensors), before)
    assert not torch.equal(expected, before)


def test_tensors_of_another_dtype_are_refused(torch, make, modules, tensors):
    module = modules(make())
    halves = {name: parameter.bfloat16() for name, parameter in module.named_parameters()}
    with pytest.raises(DtypeChangeError, match="dtype='bfloat16'"):
        torch.func.functional_call(module, halves, (tensors,))


def test_gradients_of_a_functional_call_are_those_of_the_given_tensors(torch, make, around, tensors):
    module = around(make())
    given = {name: tensor.detach().clone().requires_grad_() for name, tensor in module.named_parameters()}
    torch.func.functional_call(module, given, (tensors,)).sum().backward()
    assert any(tensor.grad is not None for tensor in given.values())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("adapted", [False, True])
def test_an_exported_program_has_the_weights_as_its_parameters(torch, make, modules, tensors, adapted):
    module = modules(make(adapted)).eval()
    program = torch.export.export(module, (tensors,)).module()
    assert torch.allclose(output(program, tensors), output(module, tensors), atol=1e-6)
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.zero_()
    assert output(program, tensors).abs().max() == 0


@pytest.mark.parametrize("adapted", [False, True])
def test_a_whole_backbone_is_saved_and_loaded(torch, make, tensors, adapted):
    model, buffer = make(adapted), io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert torch.equal(output(loaded, tensors), output(model, tensors))


@pytest.mark.parametrize("adapted", [False, True])
def test_a_module_with_a_backbone_is_saved_and_loaded(torch, make, tensors, adapted):
    model, buffer = torch.nn.ModuleDict({"backbone": make(adapted), "head": torch.nn.Linear(16, 2)}), io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert torch.equal(output(loaded["backbone"], tensors), output(model["backbone"], tensors))
    assert list(loaded.state_dict()) == list(model.state_dict())


@pytest.fixture
def sharded(torch, tmp_path):
    """Returns a function that shards the parameters of a module with FSDP, in a group of this process alone."""
    import torch.distributed as distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield lambda module: fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
    distributed.destroy_process_group()


def train(torch, module, tensors):
    optimizer = torch.optim.SGD([parameter for parameter in module.parameters() if parameter.requires_grad], 0.01)
    for _ in range(2):
        output(module, tensors).sin().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return output(module, tensors).detach()


@pytest.mark.parametrize("adapted", [False, True])
def test_fsdp_trains_a_backbone(torch, make, modules, tensors, sharded, adapted, tmp_path):
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    plain, backbone = make(adapted), make(adapted)
    backbone.load_state_dict(plain.state_dict())
    start = output(plain, tensors).detach()
    module = modules(backbone)
    sharded(module)
    trained = train(torch, module, tensors)
    assert not torch.allclose(trained, start)
    assert torch.allclose(trained, train(torch, modules(plain), tensors), atol=1e-6)
    states = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
    loaded = make(adapted)
    loaded.load_state_dict({name.removeprefix("backbone."): tensor for name, tensor in states.items()})
    assert torch.allclose(output(loaded, tensors), trained, atol=1e-6)
    for use in (
        lambda: backbone.save_to_preset(tmp_path / "saved"),
        lambda: backbone.enable_lora(2, name="other"),
        lambda: backbone.set_weights(plain.get_weights()),
        lambda: backbone.load_weights(tmp_path / "weights.h5"),
    ):
        with pytest.raises(ReplacedWeightsError, match="fully_shard"):
            use()
    assert not (tmp_path / "saved").exists()


def test_a_quantised_backbone_is_not_taken_for_replaced(make, tmp_path):
    backbone = make()
    list(backbone.parameters())
    backbone.pooled_dense.quantize("int8")
    backbone.save_to_preset(tmp_path / "saved")
