"""The function that vLLM calls in each of its processes, by the entry point in the group `vllm.general_plugins`."""

from __future__ import annotations

import logging

from vertebra_vllm.settings import read_settings

NAME = "vertebra"
"""Name of the resolver in vLLM's registry."""
_LOGGER = logging.getLogger("vllm.vertebra")  # below vLLM's own logger, which has its handlers and format


def register() -> None:
    """Registers the resolver, if the settings allow any name of an adapter; it may be called several times.

    Raises:
        SettingsError: a setting is invalid; the server does not start.
    """
    settings = read_settings()
    if not (settings.names or settings.allowed):
        _LOGGER.info("vertebra-vllm resolves no adapter: set VERTEBRA_VLLM_NAMES or VERTEBRA_VLLM_ALLOWED")
        return
    from vllm.lora.resolver import LoRAResolverRegistry

    from vertebra_vllm.resolver import VertebraResolver

    if NAME not in LoRAResolverRegistry.get_supported_resolvers():
        LoRAResolverRegistry.register_resolver(NAME, VertebraResolver(settings))
