"""A small tokenizer of bytes, as GPT-2 has, for tests of causal language models."""

import json

TEXTS = ["the quick brown fox jumps over the lazy dog", "a good dog, a bad fox", "the capital of France is Paris"]
"""The texts that it is trained on."""
SIZE = 300
"""The number of its tokens."""


def write_tokenizer(folder, **options):
    """Writes the files of a tokenizer of bytes, with `<|endoftext|>` to begin and to end a text.

    Args:
        folder: The folder, which is made if it is missing.
        **options: Further fields of `tokenizer_config.json`.
    """
    from tokenizers.implementations import ByteLevelBPETokenizer

    folder.mkdir(exist_ok=True)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 4, vocab_size=SIZE, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **options}))
