"""Kernels for products with weights, of which the fastest on this machine is chosen by measuring."""
