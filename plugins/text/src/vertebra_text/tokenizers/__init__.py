"""Tokenizers: texts to token ids and back, with the files of transformers and KerasHub."""
