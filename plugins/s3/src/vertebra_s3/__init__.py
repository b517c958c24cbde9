"""Presets in S3 and other object stores for Vertebra."""
