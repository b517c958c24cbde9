"""From texts to arrays: arguments, truncation, and the assembly of a batch."""
