"""All advisories with their payloads."""

from faults.advisories import adapters, archives, gguf_headers, hubs, objects, pickles, texts, weights
from faults.advisories.payload import Payload

ADVISORIES: dict[str, list[Payload]] = {}
for module in (objects, pickles, adapters, weights, gguf_headers, archives, texts, hubs):
    for advisory, payloads in module.advisories().items():
        ADVISORIES.setdefault(advisory, []).extend(payloads)
