"""Facts of the machine and of the installed versions, for readers of the figures."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path

PACKAGES = ("vertebra", "keras", "torch", "jax", "numpy")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Flags of processors that multiply in bfloat16, in x86-64's names and in Arm's."""
VECTORS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def facts() -> dict[str, object]:
    """Returns the processor, memory and versions of this machine and environment."""
    flags = processor_flags()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "vectors": [flag for flag in VECTORS if flag in flags],
        "bfloat16_products": has_bfloat16_products(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name))},
    }


def has_bfloat16_products() -> bool:
    """Says whether the processor multiplies numbers in bfloat16; others widen them to float32 before."""
    return bool(processor_flags() & set(BFLOAT16))


def processor_flags() -> set[str]:
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _processors(), flags=re.MULTILINE)
    return set(found[1].split()) if found else set()


def processor() -> str:
    found = re.search(r"^model name\s*:(.*)$", _processors(), flags=re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processors() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
