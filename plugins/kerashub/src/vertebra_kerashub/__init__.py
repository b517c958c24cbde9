"""KerasHub's backbones for Vertebra."""
