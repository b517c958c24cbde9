"""A torch module of your own as a backbone of Vertebra: `add` makes a class of it."""

from vertebra_torch_module.adding import add as add
