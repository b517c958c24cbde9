"""The plugin: registers the LoRA strategies of this distribution."""

from vertebra import LoraStrategy, hookimpl
from vertebra_lora_variants.dora import Dora, RsDora
from vertebra_lora_variants.ia3 import IA3
from vertebra_lora_variants.loha import LoHa
from vertebra_lora_variants.lokr import LoKr
from vertebra_lora_variants.lora_plus import LoraPlus
from vertebra_lora_variants.oft import Oft
from vertebra_lora_variants.pissa import Pissa
from vertebra_lora_variants.rslora import RsLora
from vertebra_lora_variants.trainable_tokens import TrainableTokens
from vertebra_lora_variants.vera import Vera


@hookimpl
def vertebra_lora_strategies() -> list[LoraStrategy]:
    variants = [RsLora(), Dora(), RsDora(), Pissa(), LoraPlus(), Vera()]
    return [*variants, IA3(), LoHa(), LoKr(), Oft(), TrainableTokens()]
