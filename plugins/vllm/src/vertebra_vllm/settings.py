"""The settings: environment variables with the prefix `VERTEBRA_VLLM_`. Without names or prefixes, all is refused."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vertebra.errors import SettingsError

NAMES, ALLOWED, BASE = "VERTEBRA_VLLM_NAMES", "VERTEBRA_VLLM_ALLOWED", "VERTEBRA_VLLM_BASE"
MAX_BYTES, REQUIRE_FINGERPRINT = "VERTEBRA_VLLM_MAX_BYTES", "VERTEBRA_VLLM_REQUIRE_FINGERPRINT"
_SWITCH = {"": False, "0": False, "1": True}
_MOST_BYTES_OF_NAMES = 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """The names that clients may use, and the limits of adapters."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Handles or paths of adapters, by the names in requests."""
    allowed: tuple[str, ...] = ()
    """The beginnings of handles that may be names in requests."""
    base: str | None = None
    """The preset that adapters are compared with; None means the model that the server runs."""
    max_bytes: int = 2**31
    """The largest size of an adapter's tensors, in bytes."""
    require_fingerprint: bool = False
    """Whether to refuse adapters that do not record the base that they were trained on."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Returns the settings of an environment.

    Raises:
        SettingsError: a value is invalid.
    """
    path = environment.get(NAMES, "").strip()
    allowed = tuple(filter(None, (item.strip() for item in environment.get(ALLOWED, "").split(","))))
    for prefix in allowed:
        scheme, separator, rest = prefix.partition("://")
        if not (scheme and separator and rest.strip("/")):
            problem = f"{prefix!r} is not the beginning of a handle with a path"
            raise SettingsError(ALLOWED, problem, "Write handles, such as hf://acme/ or s3://bucket/adapters/")
    switch = environment.get(REQUIRE_FINGERPRINT, "").strip()
    if switch not in _SWITCH:
        raise SettingsError(REQUIRE_FINGERPRINT, f"{switch!r} is neither 1 nor 0", "Set it to 1 or 0")
    return Settings(
        _read_names(Path(path)) if path else {},
        allowed,
        environment.get(BASE, "").strip() or None,
        _size(environment.get(MAX_BYTES, "").strip()),
        _SWITCH[switch],
    )


def _size(text: str) -> int:
    if not text:
        return Settings.__dataclass_fields__["max_bytes"].default  # type: ignore[no-any-return]
    if not (text.isascii() and text.isdigit() and int(text)):
        raise SettingsError(MAX_BYTES, f"{text!r} is not a number of bytes", "Set it to a whole number above 0")
    return int(text)


def _read_names(path: Path) -> dict[str, str]:
    """Reads a TOML file whose keys are names, and whose values are handles or paths."""
    remedy = 'Write lines such as: legal = "hf://acme/legal-lora@v1"'
    try:
        if path.stat().st_size > _MOST_BYTES_OF_NAMES:
            raise SettingsError(NAMES, f"{path} has more than {_MOST_BYTES_OF_NAMES:,} bytes", remedy)
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(NAMES, f"{path} cannot be read ({error.strerror})", "Name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(NAMES, f"{path} is not TOML: {error}", remedy) from error
    for name, adapter in table.items():
        if not (isinstance(adapter, str) and adapter.strip() and name.strip()):
            raise SettingsError(NAMES, f"{name!r} in {path} has no handle or path", remedy)
    return table
