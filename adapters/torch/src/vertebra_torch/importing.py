"""Imports Keras without torch's compiler, which takes longer to import than torch itself, and without JAX.

Keras 3.15 needs the compiler for one decorator, `torch._dynamo.disable`, of two functions that make random generators.
Nothing calls the decorated form before the compiler traces, so it is enough to decorate them when the compiler is
imported, for example by `torch.compile`. If JAX is installed, too, Keras's module for checkpoints of Orbax imports it
to look for one function, which old releases of JAX lack.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

_COMPILER, _JAX = "torch._dynamo", "jax"


def import_keras() -> None:
    """Imports Keras; torch's compiler is imported when something uses it."""
    if _COMPILER in sys.modules or "keras" in sys.modules:
        importlib.import_module("keras")
        return
    importlib.import_module("torch")
    deferred = _DeferredCompiler()
    sys.modules[_COMPILER] = deferred
    try:
        with _deferred_jax():
            importlib.import_module("keras")
    finally:
        if sys.modules.get(_COMPILER) is deferred:
            del sys.modules[_COMPILER]
            sys.meta_path.insert(0, _AfterImport(deferred.decorate))


@contextlib.contextmanager
def _deferred_jax() -> Iterator[None]:
    """Has modules that are imported in the context see a module for JAX, which imports it if they use more of it."""
    if _JAX in sys.modules or importlib.util.find_spec(_JAX) is None:
        yield
        return
    deferred = _DeferredJax(_JAX)
    sys.modules[_JAX] = deferred
    try:
        yield
    finally:
        if sys.modules.get(_JAX) is deferred:
            del sys.modules[_JAX]


class _DeferredJax(ModuleType):
    """JAX's module while Keras is imported; everything but the function that Keras looks for comes from JAX."""

    monitoring = SimpleNamespace(record_scalar=None)

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(_JAX) is self:
            del sys.modules[_JAX]
        return getattr(importlib.import_module(_JAX), name)


class _DeferredCompiler(ModuleType):
    """The compiler's module while Keras is imported; everything but `disable` comes from the real module."""

    def __init__(self) -> None:
        super().__init__(_COMPILER)
        self._functions: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
            real = importlib.import_module(_COMPILER)
            self.decorate(real)
        return getattr(importlib.import_module(_COMPILER), name)

    def disable(self, function: Any = None, **options: Any) -> Any:
        """Notes a function that the compiler is not to trace; used as `@disable` or `@disable()`."""
        real = sys.modules.get(_COMPILER)
        if real not in (None, self):  # a later use of Keras's reference to this module
            return real.disable(function, **options)  # type: ignore[union-attr]
        if function is None:
            return lambda decorated: self.disable(decorated, **options)
        self._functions.append((function, options))
        return function

    def decorate(self, compiler: Any) -> None:
        """Decorates the functions that were noted, where their modules refer to them."""
        while self._functions:
            function, options = self._functions.pop()
            names = vars(sys.modules[function.__module__])
            if names.get(function.__name__) is function:
                names[function.__name__] = compiler.disable(function, **options)


class _AfterImport(MetaPathFinder):
    """Finds the compiler's module as the other finders do, and calls a function once it is imported."""

    def __init__(self, call: Callable[[ModuleType], None]) -> None:
        self._call = call
        self._is_searching = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _COMPILER or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._is_searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.imported)
        return spec

    def imported(self, module: ModuleType) -> None:
        """Calls the function, and stops looking for the module."""
        sys.meta_path.remove(self)
        self._call(module)


class _Loader(Loader):
    """A module's own loader, followed by a call."""

    def __init__(self, loader: Loader, call: Callable[[ModuleType], None]) -> None:
        self._loader, self._call = loader, call

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._call(module)
