"""Active adapters and choices of adapters for single calls, and the lock between calls and changes."""
