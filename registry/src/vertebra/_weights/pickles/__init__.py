"""Pickles of torch, such as pytorch_model.bin: read by `vertebra convert` and `vertebra lora convert` alone, in a child process."""
