"""The preset directory: one module per format, reading and writing."""
