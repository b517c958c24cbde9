"""The operating system: files, atomic saves, memory and child processes."""
