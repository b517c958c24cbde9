"""All targets, by name."""

from fuzz.target import Target
from fuzz.targets import adapters, cache, configs, generation, gguf_files, hubs, signatures, texts, tokenizers, weights

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (configs, weights, gguf_files, adapters, texts, cache, hubs, tokenizers, signatures, generation)
    for target in module.TARGETS
}
