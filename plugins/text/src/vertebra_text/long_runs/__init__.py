"""Long runs: a task over the records of files, restarted where it was interrupted."""
