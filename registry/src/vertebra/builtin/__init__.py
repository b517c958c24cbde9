"""What comes with the core, contributed through the same hooks as anybody's."""
