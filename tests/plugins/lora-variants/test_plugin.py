"""The plugin registers strategies with distinct names, without importing a framework."""

from vertebra import LoraStrategy
from vertebra._discovery import catalog
from vertebra._lora.files.peft_types import _IN_PLUGIN
from vertebra_lora_variants import plugin

NAMES = ["rslora", "dora", "rsdora", "pissa", "lora_plus", "vera"]
NAMES += ["ia3", "loha", "lokr", "oft", "trainable_tokens"]


def test_the_strategies_have_these_names():
    found = plugin.vertebra_lora_strategies()
    assert all(isinstance(strategy, LoraStrategy) for strategy in found)
    assert [strategy.name for strategy in found] == NAMES


def test_all_are_installed_beside_the_cores_own():
    installed = {entry.name: entry.owner.distribution for entry in catalog.catalog(catalog.STRATEGIES)}
    assert installed == dict.fromkeys(["lora", "keras"], "vertebra") | dict.fromkeys(NAMES, "vertebra-lora-variants")


def test_no_two_mean_the_same_to_peft():
    switches = [strategy.peft_fields for strategy in plugin.vertebra_lora_strategies() if strategy.peft_fields]
    assert switches == [{"use_rslora": True}, {"use_dora": True}, {"use_dora": True, "use_rslora": True}]
    methods = [strategy.peft_method for strategy in plugin.vertebra_lora_strategies() if strategy.peft_method]
    fields = [method.lora_field for method in methods if method.lora_field]
    assert [method.name for method in methods] == ["IA3", "LOHA", "LOKR", "OFT", "TRAINABLE_TOKENS"]
    assert len({method.prefix for method in methods}) == len(methods)
    assert {*fields, *(method.name for method in methods)} == set(_IN_PLUGIN)  # which the core names in its remedies
