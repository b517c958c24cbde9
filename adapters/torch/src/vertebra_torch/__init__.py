"""The PyTorch runtime of Vertebra."""
