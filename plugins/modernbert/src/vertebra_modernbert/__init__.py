"""ModernBERT for Vertebra."""
