"""Lazy classes: proxies of backbone classes, so that the runtime can be chosen before Keras is imported.

`vertebra.Backbone` cannot be the class itself: the class derives from `keras.Model`, and importing Keras fixes the
backend, which `from_preset(..., runtime="jax")` may still choose.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra._discovery import runtimes
from vertebra._discovery.backbone_classes import backbone_class, computes_on
from vertebra._discovery.catalog import BACKBONES, catalog, presets_of
from vertebra._discovery.source_code import docstring_of, signature_of
from vertebra._discovery.task_classes import named_task, task_class
from vertebra.errors import RuntimeChoiceError
from vertebra.specs import LayoutRule, PresetSpec

BASE = "Backbone"


def resolve_class(name: str) -> Any:
    """Returns the class of a backbone or task by name, or a lazy class while no runtime is bound."""
    if runtimes.bound_backend() is None:
        return _lazy_class(name)
    runtimes.bind()
    return _load_class(name)


@functools.cache
def _lazy_class(name: str) -> LazyBackbone:
    return LazyBackbone(name) if named_task(name) is None else LazyTask(name)


def _load_class(name: str) -> type:
    if name == BASE:
        from vertebra.backbone import Backbone

        return Backbone
    task = named_task(name)
    return backbone_class(name) if task is None else task_class(task)


def _bind(name: str, runtime: str | None = None) -> None:
    """Binds the requested runtime; if none is requested or chosen, the only one that computes the class."""
    try:
        runtimes.bind(runtime)
    except RuntimeChoiceError as error:
        able = [one for one in error.available if _computes_on(name, one)]
        if not able:
            raise
        if len(able) > 1:
            raise runtimes.no_choice(able) from None
        runtimes.bind(able[0])


def _computes_on(name: str, runtime: str) -> bool:
    task = named_task(name)
    backbone = name if task is None else task.backbone
    return backbone is None or computes_on(backbone, runtime)


def _reference(name: str) -> str:
    task = named_task(name)
    if task is not None:
        return task.entry.value.task
    return f"vertebra.backbone:{BASE}" if name == BASE else catalog(BACKBONES).lookup(name).value.backbone


def _with_runtime(signature: inspect.Signature) -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    runtime = inspect.Parameter("runtime", kind, default=None, annotation="str | None")
    others = [parameter for name, parameter in signature.parameters.items() if name != runtime.name]
    parameters = sorted([*others, runtime], key=lambda parameter: parameter.kind)
    return signature.replace(parameters=parameters)


class _Documentation:
    """The docstring of a lazy class is that of the class which it represents, as in its source."""

    def __get__(self, instance: LazyBackbone | None, owner: type) -> str | None:
        if instance is None:
            return "A proxy of a backbone class, which can be called, subclassed and used in `isinstance`."
        return docstring_of(_reference(instance.__name__))


class LazyBackbone:
    __doc__ = _Documentation()

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the constructor, as in its source, and the runtime; this imports no framework."""
        own = signature_of(_reference(self.__name__))
        return inspect.signature(self.__call__) if own is None else _with_runtime(own)

    @property
    def presets(self) -> Mapping[str, PresetSpec]:
        """The built-in presets of the class, or of all classes for `Backbone`; this imports no framework."""
        return presets_of(None if self.__name__ == BASE else self.__name__)

    def from_preset(
        self,
        preset: str | Path,
        load_weights: bool = True,
        *,
        runtime: str | None = None,
        verify: bool = False,
        locked: bool | None = None,
        copy: bool | None = None,
        mesh: Any = None,
        layout: str | Sequence[LayoutRule] | None = None,
        parallel: str | Sequence[str] | Mapping[str, str] | None = None,
        on_uneven: str = "error",
        **kwargs: Any,
    ) -> Any:
        """Binds the runtime, then builds the backbone that a preset describes.

        Args:
            preset: A built-in preset id, a handle such as `file:///data/bert`, or the path of a preset folder.
            load_weights: Whether to load the weights; if False, the weights are random.
            runtime: Name of the runtime that Keras runs on for the rest of the process.
            verify: Whether to replay the preset's parity certificate.
            locked: Whether the preset must be as `vertebra.lock` records; None means as `VERTEBRA_LOCKED` says.
            copy: Whether to copy the weights into memory; None means as `VERTEBRA_COPY_WEIGHTS` says.
            mesh: A mesh of the runtime's, whose devices hold parts of the weights; None means the default device.
            layout: How tensor-parallel axes of the mesh divide the weights; None means as the architecture says.
            parallel: The uses of the mesh's axes, in order or by name; None means by their names.
            on_uneven: Whether a weight that cannot be divided evenly is an `"error"`, or to `"replicate"`.
            **kwargs: Arguments of the class's constructor, such as `dtype`, that override the preset's config.

        Raises:
            VertebraError: as `from_preset` of the class, which documents each error.
        """
        _bind(self.__name__, runtime)
        resolved: Any = self._resolve()
        options: dict[str, Any] = {"verify": verify, "locked": locked, "copy": copy}
        division = {"mesh": mesh, "layout": layout, "parallel": parallel, "on_uneven": on_uneven}
        if any(value not in (None, "error") for value in division.values()):  # classes of tasks may take none
            options |= division
        return resolved.from_preset(preset, load_weights, **options, **kwargs)

    def __call__(self, *args: Any, runtime: str | None = None, **kwargs: Any) -> Any:
        _bind(self.__name__, runtime)
        return self._resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Python and notebooks look up such names; that must not import Keras
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        return self.__subclasscheck__(type(instance))

    def __subclasscheck__(self, subclass: type) -> bool:
        # Before Keras is imported, there are no backbone classes.
        return "vertebra.backbone" in sys.modules and issubclass(subclass, self._resolve())

    def __repr__(self) -> str:
        return f"<vertebra lazy class {self.__name__}>"

    def _resolve(self) -> type:
        _bind(self.__name__)
        return _load_class(self.__name__)


class LazyTask(LazyBackbone):
    """A proxy of a task's class."""

    @property
    def presets(self) -> Mapping[str, PresetSpec]:
        """The built-in presets of the architecture, or of all architectures; this imports no framework."""
        task = named_task(self.__name__)
        return presets_of(task.backbone if task else None)

    def from_preset(
        self, preset: str | Path, load_weights: bool = True, *, runtime: str | None = None, **kwargs: Any
    ) -> Any:
        """Binds the runtime, then builds the task that a preset describes, as the class's own `from_preset`."""
        _bind(self.__name__, runtime)
        resolved: Any = self._resolve()
        return resolved.from_preset(preset, load_weights, **kwargs)
