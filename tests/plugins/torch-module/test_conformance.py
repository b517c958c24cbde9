"""The rules for backbones, of torch modules as users write them."""

from pathlib import Path

import pytest

from vertebra.testing import BackboneSuite
from vertebra_torch_module import add, declared, plugin, specs

pytestmark = pytest.mark.keras(once=True)

NETS = Path(__file__).with_name("nets.py")


class TorchModuleRules(BackboneSuite):
    module: str

    @pytest.fixture(autouse=True)
    def named(self, monkeypatch):
        """Names the module in this process, and for those that it starts."""
        monkeypatch.setenv(declared.VARIABLE, f"{NETS}:{self.module}")
        add(f"{NETS}:{self.module}")

    @pytest.fixture
    def spec(self, named):
        (declaration,) = [one for one in declared.declarations().values() if one.reference.endswith(f":{self.module}")]
        return specs.spec(declaration.name, declaration.identifier)

    @pytest.fixture
    def entry_module(self):
        return plugin.__name__


class TestTextNet(TorchModuleRules):
    module = "TextNet"

    @pytest.fixture
    def arguments(self):
        return {"vocabulary": 20, "width": 8}


class TestImageNet(TorchModuleRules):
    module = "image_net"

    @pytest.fixture
    def arguments(self):
        return {"channels": 6}

    @pytest.fixture
    def lengths(self):
        return (3, 24)  # a convolution needs as many pixels as its kernel has
