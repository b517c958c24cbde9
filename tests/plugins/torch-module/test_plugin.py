"""Torch modules as backbones: files of torch's own tools, tied and shared weights, statistics, threads, and errors."""

import functools
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra import errors

pytestmark = pytest.mark.keras(once=True)

NETS = Path(__file__).with_name("nets.py")


@pytest.fixture
def add():
    from vertebra_torch_module import add

    return add


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch modules need torch")


@pytest.fixture
def nets(add):
    """The file of modules, as Python imported it."""
    from vertebra_torch_module import declared

    return declared.module_of_file(str(NETS))


def text_inputs(torch):
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    return {"token_ids": torch.arange(12).reshape(2, 6) % 20, "padding_mask": mask}


def same(found, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].detach().numpy(), value.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.fixture
def saved(torch, nets, tmp_path):
    """A checkpoint as huggingface_hub's mixin writes it, and the module's outputs."""
    from huggingface_hub import PyTorchModelHubMixin

    class Shared(nets.TextNet, PyTorchModelHubMixin):
        """A module that its author shares."""

    module = Shared(vocabulary=20, depth=3).eval()
    torch.nn.init.normal_(module.scale)
    module.save_pretrained(tmp_path / "hub")
    with torch.no_grad():
        return tmp_path / "hub", module(**text_inputs(torch))


def test_a_checkpoint_of_the_hub_mixin_is_read_and_written(add, torch, nets, saved, tmp_path):
    folder, expected = saved
    assert "model_type" not in json.loads((folder / "config.json").read_text())
    backbone = add(f"{NETS}:TextNet").from_preset(folder)
    assert backbone.get_config()["depth"] == 3
    same(backbone(text_inputs(torch), training=False), expected)
    backbone.save_to_preset(tmp_path / "again", format="transformers")

    from huggingface_hub import PyTorchModelHubMixin

    class Shared(nets.TextNet, PyTorchModelHubMixin):
        """A module that its author shares."""

    again = Shared.from_pretrained(tmp_path / "again").eval()
    same(again(**text_inputs(torch)), expected)


def test_a_native_preset_needs_no_class_of_the_caller(add, torch, saved, tmp_path):
    folder, expected = saved
    backbone = add(f"{NETS}:TextNet").from_preset(folder)
    backbone.save_to_preset(tmp_path / "native")
    again = vertebra.Backbone.from_preset(tmp_path / "native", verify=True)
    assert type(again).__name__ == "TextNetBackbone"
    same(again(text_inputs(torch), training=False), expected)


def test_training_mode_statistics_and_counts_are_those_of_the_module(add, torch, nets):
    backbone = add(f"{NETS}:image_net")(channels=4)
    module = nets.image_net(4)
    module.load_state_dict(
        {
            "0.weight": backbone.named_weights()["module/0/weight"].value,
            "0.bias": backbone.named_weights()["module/0/bias"].value,
            "1.weight": backbone.named_weights()["module/1/weight"].value,
            "1.bias": backbone.named_weights()["module/1/bias"].value,
            "5.weight": backbone.named_weights()["module/5/kernel"].value.T,
            "5.bias": backbone.named_weights()["module/5/bias"].value,
        },
        strict=False,
    )
    pixels = torch.randn(3, 3, 7, 7)
    torch.testing.assert_close(backbone(pixels, training=True), module(pixels))
    weights = backbone.named_weights()
    torch.testing.assert_close(weights["module/1/running_mean"].value.data, module[1].running_mean)
    assert int(weights["module/1/num_batches_tracked"].value) == 1
    torch.testing.assert_close(backbone(pixels, training=False), module.eval()(pixels))


def test_new_models_begin_with_the_values_of_the_constructor(add, torch, nets):
    torch.manual_seed(3)
    backbone = add(f"{NETS}:TextNet")(20)
    torch.manual_seed(3)
    module = nets.TextNet(20).eval()
    same(backbone(text_inputs(torch), training=False), module(**text_inputs(torch)))


def test_layers_whose_weights_are_read_or_tied_are_not_adapted(add):
    backbone = add(f"{NETS}:TextNet")(20)
    adapted = set(backbone.enable_lora(2).layers)
    assert "module/blocks/1/down" in adapted
    assert not adapted & {"module/project", "module/head"}
    assert len(adapted) == 10
    with pytest.raises(errors.LoraTargetError, match="project"):
        add(f"{NETS}:TextNet")(20).enable_lora(2, ["project"])
    kept = add(f"{NETS}:TextNet", keep=("blocks.0.*",))(20)
    assert len(kept.enable_lora(2).layers) == 5
    add(f"{NETS}:TextNet")


def test_threads_compute_in_their_own_mode(add, torch):
    backbone = add(f"{NETS}:TextNet")(20)
    expected = backbone(text_inputs(torch), training=False)["hidden"].detach()
    wrong = []

    def infer():
        for _ in range(20):
            found = backbone(text_inputs(torch), training=False)["hidden"].detach()
            wrong.extend([] if torch.allclose(found, expected, atol=1e-6) else [found])

    threads = [threading.Thread(target=infer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        backbone(text_inputs(torch), training=True)
    for thread in threads:
        thread.join()
    assert wrong == []


def module_class(torch, forward, **layers):
    """Returns a class of modules with these layers, which computes with `forward(module, x)`."""

    def constructor(self):
        torch.nn.Module.__init__(self)
        for name, make in layers.items():
            setattr(self, name, make())

    return type("Made", (torch.nn.Module,), {"__init__": constructor, "forward": forward, "__module__": __name__})


def values_of(module, backbone, torch):
    """Gives a module the values of a backbone."""
    weights = backbone.named_weights()
    state = {}
    for name in module.state_dict():
        path = f"module/{name.replace('.', '/')}"
        kernel = path.removesuffix("weight") + "kernel"
        state[name] = weights[kernel].value.T if kernel in weights else weights[path].value
    module.load_state_dict(state)


@pytest.mark.parametrize(
    ("layers", "forward", "size"),
    [
        ({"net": lambda nn: nn.LSTM(4, 5, 2, batch_first=True)}, lambda self, x: self.net(x)[0], (6, 4)),
        ({"net": lambda nn: nn.GRU(4, 5, batch_first=True)}, lambda self, x: self.net(x)[0], (6, 4)),
        (
            {"net": lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2)},
            lambda self, x: self.net(x),
            (6, 4),
        ),
        ({"net": lambda nn: nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))}, lambda self, x: self.net(x), (4,)),
        ({"net": lambda nn: nn.ParameterList([nn.init.ones_(nn.Parameter(nn.Linear(4, 4).weight))])},
         lambda self, x: x @ self.net[0], (4,)),
        ({"net": lambda nn: nn.Bilinear(4, 4, 3)}, lambda self, x: self.net(x, x), (4,)),
        ({"net": lambda nn: nn.EmbeddingBag(9, 4)}, lambda self, x: self.net(x.abs().long() % 9), (5,)),
    ],
    ids=["LSTM", "GRU", "TransformerEncoder", "weight_norm", "ParameterList", "Bilinear", "EmbeddingBag"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_layers_of_torch_compute_the_same(add, torch, layers, forward, size):
    kind = module_class(torch, forward, **{name: (lambda make=make: make(torch.nn)) for name, make in layers.items()})
    backbone = add(kind, inputs=(size, "float32"))()
    module = kind().eval()
    values_of(module, backbone, torch)
    x = torch.randn(3, *size)
    torch.testing.assert_close(backbone(x, training=False), module(x))
    assert sum(v.value.numel() for v in backbone.trainable_weights) == sum(p.numel() for p in module.parameters())


def test_lora_reaches_the_layers_of_an_encoder_in_inference(add, torch):
    def encoder(self, x):
        return self.net(x)

    kind = module_class(torch, encoder, net=lambda: torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    backbone = add(kind, inputs=((6, 4), "float32"))()
    x = torch.randn(3, 6, 4)
    plain = backbone(x, training=False).detach()
    backbone.enable_lora(2, ["linear1"])
    for variable in backbone.trainable_weights:
        variable.assign(torch.randn_like(variable.value))
    with torch.no_grad():
        assert not torch.allclose(backbone(x, training=False), plain, atol=1e-3)


def test_statistics_of_batches_are_kept_while_an_adapter_trains_or_the_model_is_frozen(add, nets, torch, tmp_path):
    pixels = torch.randn(8, 3, 7, 7) * 3 + 1
    base = add(f"{NETS}:image_net")(channels=4)
    base.save_to_preset(tmp_path / "base")
    base.enable_lora(2)
    with torch.no_grad():
        trained = base(pixels, training=True)
        torch.testing.assert_close(base(pixels, training=False), trained)
    for variable in base.trainable_weights:
        variable.assign(torch.randn_like(variable.value))
    base.save_lora_weights(tmp_path / "adapter")
    again = vertebra.Backbone.from_preset(tmp_path / "base")
    again.load_lora_weights(tmp_path / "adapter")
    torch.testing.assert_close(again(pixels, training=False), base(pixels, training=False))
    frozen = vertebra.Backbone.from_preset(tmp_path / "base")
    frozen.trainable = False
    frozen(pixels, training=True)
    assert int(frozen.named_weights()["module/1/num_batches_tracked"].value) == 0
    frozen.trainable = True
    frozen(pixels, training=True)
    assert int(frozen.named_weights()["module/1/num_batches_tracked"].value) == 1


def test_an_encoder_with_a_padding_mask_infers(add, torch):
    def encoder(self, x, mask):
        return self.net(x, src_key_padding_mask=mask)

    def make():
        return torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2)

    kind = module_class(torch, encoder, net=make)
    backbone = add(kind, inputs={"x": ((6, 4), "float32"), "mask": ((6,), "bool")})()
    module = kind()
    values_of(module, backbone, torch)
    module.net.use_nested_tensor = False
    inputs = {"x": torch.randn(3, 6, 4), "mask": torch.arange(6) > torch.tensor([[5], [3], [2]])}
    found, expected = backbone(inputs, training=False), module.eval()(**inputs)
    torch.testing.assert_close(found[~inputs["mask"]], expected[~inputs["mask"]])


def test_layers_in_lists_and_methods_of_the_module_have_adapters(add, torch):
    class Listed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            self.steps = [self.first, self.last]

        def last(self, x):
            return self.second(x)

        def forward(self, x):
            for step in self.steps:
                x = step(x)
            return x

    backbone = add(Listed, inputs=((4,), "float32"))()
    module, x = Listed().eval(), torch.randn(3, 4)
    values_of(module, backbone, torch)
    torch.testing.assert_close(backbone(x, training=False), module(x))
    assert set(backbone.enable_lora(2).layers) == {"module/first", "module/second"}
    for layer in ("first", "second"):
        plain = backbone(x, training=False).detach()
        for name, weight in backbone.named_weights().items():
            if name.startswith(f"module/{layer}/lora"):
                weight.assign(torch.randn_like(weight.value))
        assert not torch.allclose(backbone(x, training=False), plain, atol=1e-3), layer


def with_attribute(torch, make):
    """Returns a class of modules that keep something in a plain attribute."""

    def constructor(self):
        torch.nn.Module.__init__(self)
        self.net = torch.nn.Linear(4, 4)
        make(self)

    return type("Kept", (torch.nn.Module,), {"__init__": constructor, "forward": lambda self, x: self.net(x)})


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda nn, self: setattr(self, "kept", [self.net.weight]), "its attribute kept has parameters that torch"),
        (lambda nn, self: setattr(self.net, "kept", {"a": (nn.Linear(4, 4),)}), r"its attribute net\.kept has param"),
        (lambda nn, self: setattr(self, "kept", self.net.weight * 2), "its attribute kept was computed from"),
        (lambda nn, self: setattr(self, "kept", lambda x: self.net(x)), "its attribute kept is a function that uses"),
        (
            lambda nn, self: setattr(self.net, "kept", lambda x, net=self.net: x),
            r"its attribute net\.kept is a function",
        ),
        (lambda nn, self: setattr(self, "kept", nn.ModuleDict({"a/b": nn.Linear(4, 4)})), "a slash in its name"),
    ],
    ids=["parameter", "module", "computed", "closure", "default", "slash"],
)
def test_tensors_that_a_preset_would_lack_are_refused(add, torch, make, problem):
    from vertebra_torch_module.errors import TorchModuleError

    kind = with_attribute(torch, lambda self: make(torch.nn, self))
    with pytest.raises(TorchModuleError, match=problem):
        add(kind, inputs=((4,), "float32"))()


def test_arguments_that_a_preset_cannot_give_are_refused(add, torch, tmp_path):
    from vertebra_torch_module.errors import TorchModuleError

    class Open(torch.nn.Module):
        def __init__(self, width=4, **settings):
            super().__init__()
            self.net = torch.nn.Linear(4, settings.get("out", width))

        def forward(self, x):
            return self.net(x)

    kind = add(Open, inputs=((4,), "float32"))
    with pytest.raises(TypeError, match=r"OpenBackbone: got an unexpected keyword argument 'out'; .*\(width=4\)"):
        kind(out=3)
    kind(5).save_to_preset(tmp_path / "open", format="transformers")
    assert kind.from_preset(tmp_path / "open").output_shape == (None, 5)
    config = json.loads((tmp_path / "open" / "config.json").read_text())
    (tmp_path / "open" / "config.json").write_text(json.dumps({**config, "out": 3}))
    with pytest.raises(errors.PresetConfigError, match="OpenBackbone has no argument 'out'"):
        kind.from_preset(tmp_path / "open")
    with pytest.raises(TorchModuleError, match=r"argument '\*sizes', which no preset can give by name"):
        add(lambda *sizes: Open(*sizes), inputs=((4,), "float32"), name="SizesBackbone")(4)


def test_a_model_without_linear_layers_has_no_target(add, torch):
    kind = module_class(torch, lambda self, x: self.net(x), net=lambda: torch.nn.Conv1d(4, 4, 1))
    with pytest.raises(errors.LoraTargetError, match="'all-linear': it matches no layer"):
        add(kind, inputs=((4, 5), "float32"))().enable_lora(2)


def test_weights_that_are_read_later_are_an_error_and_not_a_wrong_number(add, torch):
    def forward(self, x):
        return x @ self.net.weight.T if bool(x.sum() > 0) else self.net(x)

    kind = module_class(torch, forward, net=lambda: torch.nn.Linear(4, 4))
    backbone = add(kind, inputs=((4,), "float32"))()
    backbone(-torch.ones(2, 4))
    with pytest.raises(errors.LoraStateError, match=r"keep=\('net',\)"):
        backbone(torch.ones(2, 4))
    assert add(kind, inputs=((4,), "float32"), keep=("net",))()(torch.ones(2, 4)).shape == (2, 4)


def test_tuples_are_lists_of_outputs(add, torch):
    kind = module_class(torch, lambda self, x: torch.max(self.net(x), dim=-1), net=lambda: torch.nn.Linear(4, 4))
    outputs = add(kind, inputs=((4,), "float32"), name="MaximumBackbone")()(torch.ones(2, 4))
    assert [value.shape for value in outputs] == [(2,), (2,)]


@pytest.mark.parametrize(
    ("reference", "inputs", "problem"),
    [
        ("missing.py:Net", None, "there is no such file"),
        (f"{NETS}:TextNets", None, "no class or function 'TextNets'.*has TextNet"),
        (f"{NETS}:Block", None, "its inputs are not known"),
        (f"{NETS}:Block", {"x": ((4,), "float32")}, "cannot be called with the inputs that were declared"),
        (f"{NETS}:Block", {"x": "float32"}, "its input 'x' is 'float32'"),
        (f"{NETS}:Block", {"x": ((4,), "complex64")}, "the dtype 'complex64'"),
        (f"{NETS}:TextNet", None, r"its constructor failed with these arguments \(TypeError: .*Correct the arguments"),
        (f"{NETS}:functional", None, "no class or function 'functional'"),
        ("no_such_package.nets:Net", None, "there is no Python module no_such_package.nets"),
        (f"{Path(__file__).with_name('broken.py')}:Net", None, r"cannot be imported \(NameError: .*Correct the code"),
    ],
)
def test_a_module_that_cannot_be_a_backbone_is_named(add, reference, inputs, problem):
    from vertebra_torch_module.errors import TorchModuleError

    with pytest.raises((TorchModuleError, errors.PluginError), match=problem):
        add(reference, inputs=inputs, name="WrongBackbone")("8" if reference.endswith("TextNet") else 8)


def test_files_of_the_same_name_are_two_modules(add, torch, tmp_path):
    from vertebra_torch_module import declared

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(f"class Net: folder = {folder!r}")
    one, two = (declared.module_of_file(str(tmp_path / folder / "net.py")) for folder in ("one", "two"))
    assert sys.modules[one.Net.__module__].Net.folder == "one"
    assert sys.modules[two.Net.__module__].Net.folder == "two"


def test_a_reference_of_another_form_is_refused(add, torch, nets):
    from vertebra_torch_module.errors import TorchModuleError

    with pytest.raises(TorchModuleError, match=r"Write FILE\.py:NAME"):
        add("net.py")
    with pytest.raises(TorchModuleError, match=r'it has no name .*name="NetBackbone"'):
        add(lambda: torch.nn.Linear(4, 4), inputs=((4,), "float32"))
    with pytest.raises(TorchModuleError, match="this is no class or function"):
        add(3)
    made = functools.partial(nets.image_net, 4)
    assert add(made, inputs=((3, 8, 8), "float32"), name="PartialBackbone")().output_shape == (None, 5)
