"""The rules for architectures, for a wrapped class of KerasHub."""

import pytest
from peers.same_process import tiny_kerashub

from vertebra.testing import BackboneSuite

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module", autouse=True)
def plugin():
    """The plugin, which the environment may have installed."""
    pytest.importorskip("keras_hub", reason="only the environment of `make peers` has it")
    from vertebra.testing.plugins import use_plugin

    use_plugin("vertebra_kerashub.plugin")


class TestWrapped(BackboneSuite):
    """Other classes fail rules in KerasHub's own code, such as `get_config` of the layers of Llama and GPT-NeoX."""

    @pytest.fixture(params=["MistralBackbone", "ResNetBackbone"])
    def name(self, request):
        return request.param

    @pytest.fixture
    def spec(self, name):
        from vertebra_kerashub import plugin

        return next(spec for spec in plugin.vertebra_backbones() if spec.name == f"KerasHub{name}")

    @pytest.fixture
    def arguments(self, name):
        return tiny_kerashub.arguments(name)

    @pytest.fixture
    def full_precision(self):
        return ("attention_softmax",)

    @pytest.fixture
    def without_gradient(self):
        return ("token_embedding/reverse_embeddings",)  # a task's, for logits
