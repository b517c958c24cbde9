"""GPT-2 for Vertebra."""
