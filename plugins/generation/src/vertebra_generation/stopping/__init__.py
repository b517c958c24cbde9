"""When an answer ends: stop tokens, stop strings, and the text of token ids that arrive one after the other."""
