"""DistilBERT for Vertebra."""
