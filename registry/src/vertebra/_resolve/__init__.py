"""From a handle to an open preset: candidates, policies, failover, the lockfile, and the preset's files."""
