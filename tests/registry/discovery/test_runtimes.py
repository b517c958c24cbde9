"""Runtime selection, tested with a fake Keras: the real one binds a process for good."""

import sys

import pytest

import vertebra
from vertebra._discovery import backbone_classes, runtimes
from vertebra.errors import RuntimeBoundError, RuntimeChoiceError, RuntimeUnavailableError, UnknownNameError

KERAS = """
import os

class config:
    bound = os.environ["KERAS_BACKEND"]

    @classmethod
    def backend(cls):
        return cls.bound
"""
RUNTIME = """
from vertebra import Runtime, hookimpl

class Toy(Runtime):
    name = "{name}"
    model_class = devices = tensor = snapshot = can_view = compile = None

    def unavailable_reason(self):
        {answer}

@hookimpl
def vertebra_runtimes():
    return [Toy()]
"""


@pytest.fixture
def machine(reload_plugins, install, monkeypatch, tmp_path):
    """Returns a function that installs runtimes, each with the body of its `unavailable_reason`."""
    (tmp_path / "site" / "keras.py").write_text(KERAS)
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # another test of this process may have bound the real one
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "")  # so that the variables are restored
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")

    def install_runtimes(*names, **answers):
        for name, answer in (dict.fromkeys(names, "return None") | answers).items():
            install(f"acme-{name}", RUNTIME.format(name=name, answer=answer))
        return tmp_path

    yield install_runtimes
    assert "keras" not in sys.modules or sys.modules["keras"].__file__.startswith(str(tmp_path))
    sys.modules.pop("keras", None)  # before the real one comes back


def test_the_only_runtime_is_taken(machine):
    machine("apple", pear="return 'no pears here'")
    assert runtimes.bound_backend() is None
    assert vertebra.use("apple").name == "apple"
    assert runtimes.bound_backend() == "apple"
    assert runtimes.bind().name == "apple"


@pytest.mark.parametrize(
    ("requested", "variable", "keras_variable", "saved", "taken"),
    [
        ("apple", "pear", "pear", "pear", "apple"),
        (None, "pear", "apple", "apple", "pear"),
        (None, "", "pear", "apple", "pear"),
        (None, "", "", "pear", "pear"),
        (None, " ", " apple ", "pear", "apple"),
    ],
)
def test_the_order_of_choice(requested, variable, keras_variable, saved, taken, machine, monkeypatch):
    folder = machine("apple", "pear")
    (folder / "keras.json").write_text(f'{{"backend": "{saved}"}}')
    monkeypatch.setenv("VERTEBRA_RUNTIME", variable)
    monkeypatch.setenv("KERAS_BACKEND", keras_variable)
    assert runtimes.bind(requested).name == taken
    assert sys.modules["keras"].config.backend() == taken


@pytest.mark.parametrize("saved", ["", "{", "[]", '{"backend": 1}', '{"backend": "cherry"}', '{"floatx": "float32"}'])
def test_what_keras_saved_counts_only_if_it_can_be_used(saved, machine):
    (machine("apple") / "keras.json").write_text(saved)
    assert runtimes.bind().name == "apple"


@pytest.mark.parametrize("names", [(), ("apple", "pear")])
def test_without_exactly_one_runtime_the_choice_is_the_users(names, machine):
    machine(*names, cherry="return 'out of season'")
    with pytest.raises(RuntimeChoiceError) as caught:
        runtimes.bind()
    assert caught.value.available == list(names)
    assert "keras" not in sys.modules


@pytest.mark.parametrize("answer", ["return 'no pears here'", "raise ValueError('odd')"])
def test_one_that_cannot_be_used_says_why(answer, machine):
    machine("apple", pear=answer)
    with pytest.raises(RuntimeUnavailableError) as caught:
        runtimes.bind("pear")
    assert caught.value.runtime == "pear"
    assert caught.value.reason
    assert [runtime.name for runtime in runtimes.available()] == ["apple"]
    assert "keras" not in sys.modules


def test_one_that_is_unknown_is_named_with_similar_ones(machine):
    machine("apple")
    with pytest.raises(UnknownNameError) as caught:
        vertebra.use("appel")
    assert caught.value.suggestions == ["apple"]
    assert "keras" not in sys.modules


def test_a_bound_runtime_cannot_change(machine):
    machine("apple", "pear")
    vertebra.use("apple")
    assert vertebra.use("apple").name == "apple"
    with pytest.raises(RuntimeBoundError) as caught:
        vertebra.use("pear")
    assert (caught.value.wanted, caught.value.bound) == ("pear", "apple")
    with pytest.raises(UnknownNameError):
        vertebra.use("cherry")


@pytest.mark.parametrize(("names", "error"), [(("apple",), RuntimeBoundError), ((), RuntimeChoiceError)])
def test_keras_may_be_bound_to_what_no_plugin_runs(names, error, machine, monkeypatch):
    machine(*names, cherry="return 'out of season'")
    monkeypatch.setenv("KERAS_BACKEND", "banana")
    __import__("keras")
    with pytest.raises(error):
        runtimes.bind()


def test_numpy_is_no_framework_although_it_is_a_backend_of_keras(machine):
    """Plugins that compute with arrays may import it, whatever runtimes are installed."""
    machine("numpy", "apple")
    assert runtimes.framework_names() == ["apple", "keras"]


# === Architectures for some runtimes ===

ORCHARD = """
from vertebra import BackboneSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("OrchardBackbone", "acme_orchard:OrchardBackbone", (), {{}}, runtimes={runtimes!r})]
"""


@pytest.fixture
def orchard(machine, install):
    """Installs an architecture for some runtimes: apple, fig, pear and plum are there, and plum cannot be used."""

    def install_orchard(*runtimes):
        install("acme-orchard", ORCHARD.format(runtimes=runtimes))
        machine("apple", "fig", "pear", plum="return 'out of season'")

    return install_orchard


@pytest.mark.parametrize(("wanted", "bound"), [((), "apple"), (("pear",), "pear"), (("plum", "pear"), "pear")])
def test_the_first_runtime_that_computes_a_class_is_bound(orchard, wanted, bound):
    orchard(*wanted)
    assert backbone_classes.bind_any("OrchardBackbone").name == bound


def test_a_call_names_the_runtimes_that_compute_a_class_if_there_are_several(orchard):
    orchard("pear", "fig")
    with pytest.raises(RuntimeChoiceError) as caught:
        vertebra.models.OrchardBackbone()
    assert caught.value.available == ["fig", "pear"]


@pytest.mark.parametrize(
    ("wanted", "error", "problem"),
    [
        (("pear",), RuntimeBoundError, "OrchardBackbone needs the runtime 'pear', but Keras already runs on 'apple'"),
        (("plum", "pear"), RuntimeBoundError, "OrchardBackbone needs the runtime 'pear'"),
        (("plum",), RuntimeUnavailableError, "out of season"),
        (("cherry",), UnknownNameError, "cherry"),
    ],
)
def test_a_class_for_another_runtime_names_one_that_can_be_used(orchard, wanted, error, problem):
    orchard(*wanted)
    vertebra.use("apple")
    with pytest.raises(error, match=problem):
        backbone_classes.backbone_class("OrchardBackbone")
