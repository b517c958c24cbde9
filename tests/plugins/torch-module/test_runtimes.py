"""A torch module on each runtime."""

from pathlib import Path

import keras
import pytest

import vertebra
from vertebra import errors
from vertebra_torch_module import add

pytestmark = pytest.mark.keras

NETS = Path(__file__).with_name("nets.py")


def test_another_runtime_than_torch_is_refused_before_the_class_is_imported():
    if keras.config.backend() == "torch":
        assert issubclass(add(f"{NETS}:TextNet"), vertebra.Backbone)
    else:
        with pytest.raises(errors.RuntimeBoundError, match="TextNetBackbone needs the runtime 'torch', but"):
            add(f"{NETS}:TextNet")
