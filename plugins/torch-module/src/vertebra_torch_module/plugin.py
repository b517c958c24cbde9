"""The hook that contributes the modules of `VERTEBRA_TORCH_MODULES`, so that the command has them, too."""

from vertebra import BackboneSpec, hookimpl
from vertebra_torch_module.declared import not_added
from vertebra_torch_module.specs import spec


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [spec(one.name, one.identifier) for one in not_added()]
