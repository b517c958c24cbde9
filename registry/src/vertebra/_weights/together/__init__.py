"""Saving by all processes of a mesh, each of which has parts of the tensors, into one folder or file."""
