"""Output for terminals, pipes and files: encodings, tables and trees."""
