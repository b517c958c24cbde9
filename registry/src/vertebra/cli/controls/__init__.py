"""Commands for what governs all others: settings, and the structure of files and outputs."""
