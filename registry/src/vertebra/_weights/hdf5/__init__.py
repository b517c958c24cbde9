"""HDF5 weights files: a child process lists them, the core maps their tensors and writes new files."""
