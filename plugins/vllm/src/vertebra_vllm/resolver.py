"""The resolver, a class of vLLM's interface; only vLLM's processes import this module."""

from __future__ import annotations

import asyncio
import logging

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver

from vertebra.errors import VertebraError
from vertebra_vllm.delivery import deliver
from vertebra_vllm.names import UnknownAdapterError
from vertebra_vllm.settings import Settings

_LOGGER = logging.getLogger("vllm.vertebra")


class VertebraResolver(LoRAResolver):
    """Resolves the names that the operator allows; vLLM answers others with status 404, as it does if none exists.

    Args:
        settings: The names and limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()  # clients choose the names: one download or conversion at a time

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """Returns the adapter of a name as a local folder; None, and a line in the log, if it is refused.

        Args:
            base_model_name: The model that the server runs: an id of Hugging Face or a path.
            lora_name: The name in the request.
        """
        try:
            async with self._turn:
                adapter = await asyncio.to_thread(deliver, lora_name, base_model_name, self._settings)
        except UnknownAdapterError as error:
            _LOGGER.debug("%s", error)
            return None
        except VertebraError as error:
            _LOGGER.error("Refused the adapter %r: %s", lora_name, error)
            return None
        for note in adapter.notes:
            _LOGGER.warning("Adapter %r: %s", lora_name, note)
        return LoRARequest(
            lora_name=lora_name,
            lora_int_id=adapter.number,
            lora_path=str(adapter.folder),
            base_model_name=base_model_name,
        )
