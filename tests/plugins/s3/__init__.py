"""Tests of the S3 plugin: a package, so that its gateway ends with its last test."""
