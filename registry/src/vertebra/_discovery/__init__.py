"""Discovery: plugins, the catalog of what they contribute, lazy backbone classes and runtimes."""
