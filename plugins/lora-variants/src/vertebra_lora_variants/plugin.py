"""The plugin: registers the LoRA strategies of this distribution."""

from vertebra import LoraStrategy, hookimpl
from vertebra_lora_variants.dora import Dora, RsDora
from vertebra_lora_variants.keras_lora import KerasLora
from vertebra_lora_variants.lora_plus import LoraPlus
from vertebra_lora_variants.pissa import Pissa
from vertebra_lora_variants.rslora import RsLora
from vertebra_lora_variants.vera import Vera


@hookimpl
def vertebra_lora_strategies() -> list[LoraStrategy]:
    return [RsLora(), Dora(), RsDora(), Pissa(), LoraPlus(), Vera(), KerasLora()]
