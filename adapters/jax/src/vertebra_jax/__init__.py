"""The JAX runtime of Vertebra."""
