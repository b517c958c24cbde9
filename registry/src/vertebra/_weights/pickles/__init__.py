"""Pickles of torch, such as pytorch_model.bin: read by `vertebra convert` alone, in a child process."""
