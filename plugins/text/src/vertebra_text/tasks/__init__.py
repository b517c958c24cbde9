"""Tasks: a backbone with a head, from raw text to vectors, scores and labels."""
