"""BERT for Vertebra."""
