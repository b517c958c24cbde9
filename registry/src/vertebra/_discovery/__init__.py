"""Discovery: plugins, the catalog of their contributions, and runtimes."""
