"""The hook that contributes the tokenizer. This module must import no framework and no numpy."""

from vertebra import TokenizerSpec, hookimpl


@hookimpl
def vertebra_tokenizers() -> list[TokenizerSpec]:
    reference = "example_plugin.tokenizer:ExamplePluginTokenizer"
    return [TokenizerSpec("ExamplePluginTokenizer", reference, "single characters")]
