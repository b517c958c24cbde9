"""The vertebra command."""
