"""MPNet for Vertebra."""
