"""The suite that every architecture must pass.

class TestMyBackbone(BackboneSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = my_plugin.vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self):
        return {"width": 16, "depth": 2}

Rules for a capability that a backbone does not have, such as LoRA roles, are skipped.
"""

from __future__ import annotations

from vertebra.testing.backbones.calls import CallRules
from vertebra.testing.backbones.decoding import DecodingRules
from vertebra.testing.backbones.dividing import LayoutRules
from vertebra.testing.backbones.lora import LoraRules
from vertebra.testing.backbones.padding import PaddingRules
from vertebra.testing.backbones.training import TrainingRules


class BackboneSuite(PaddingRules, DecodingRules, LayoutRules, LoraRules, TrainingRules, CallRules):
    """Tests of an architecture. Give the subclass a name that pytest collects, and define `spec` and `arguments`.

    The tests run on the runtime of the process; those of files start a process on each installed runtime.
    """
