"""All advisories with their payloads."""

from faults.advisories import adapters, archives, objects, pickles, weights
from faults.advisories.payload import Payload

ADVISORIES: dict[str, list[Payload]] = {}
for module in (objects, pickles, adapters, weights, archives):
    for advisory, payloads in module.advisories().items():
        ADVISORIES.setdefault(advisory, []).extend(payloads)
