"""Tests of vertebra-oci."""
