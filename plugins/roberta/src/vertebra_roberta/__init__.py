"""RoBERTa for Vertebra."""
