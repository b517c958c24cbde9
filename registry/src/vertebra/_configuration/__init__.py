"""Settings: environment variables, configuration files, and the settings that the machine enforces."""
