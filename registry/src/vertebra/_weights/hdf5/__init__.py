"""HDF5 weights files: a child process lists the datasets, the core maps them and writes new files."""
