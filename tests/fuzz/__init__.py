"""Fuzzing: readers of files and answers that strangers control, called with bytes that strangers might write."""
