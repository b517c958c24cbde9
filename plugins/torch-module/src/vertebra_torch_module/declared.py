"""The modules that the user has named, in `VERTEBRA_TORCH_MODULES` or by `add`; nothing here imports torch.

A preset only has the name of its class. Which file has the code, the user alone says: no preset can name code to run.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.errors import SettingsError, close_names, exception_text
from vertebra_torch_module.errors import TorchModuleError

VARIABLE = "VERTEBRA_TORCH_MODULES"
INPUTS = "vertebra_inputs"
"""Attribute of a module's class, or of a function that makes modules, with its inputs."""
_SUFFIX = "Backbone"
_OWN_ARGUMENTS = ("inputs", "dtype", "trainable", "name", "self")
"""Arguments of every class that is made of a module."""
_NAMELESS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
_KEYWORDS = inspect.Parameter.VAR_KEYWORD
_FORM = "Write FILE.py:NAME or PACKAGE.MODULE:NAME"


@dataclass(frozen=True, eq=False)
class Declaration:
    """A torch module that the user has named."""

    name: str
    """Name of the backbone's class."""
    reference: str
    """The file or Python module, and the name of the class or function in it, such as `net.py:Net`."""
    inputs: Any = None
    """Shapes and dtypes of the inputs, or None for those that the class has."""
    keep: tuple[str, ...] = ()
    """Globs of names of linear layers that remain torch's, without LoRA."""
    made: Callable[..., Any] | None = None
    """The class or function itself, or None to import it."""

    @property
    def identifier(self) -> str:
        """The `model_type` that configs in transformers' format have for the class."""
        return f"torch-module:{self.name.removesuffix(_SUFFIX)}"

    def module_class(self) -> Callable[..., Any]:
        """Returns the class or function; imports its file.

        Raises:
            TorchModuleError: the file does not exist, or has no such name.
        """
        return self.made or _imported(self.reference)

    def signature(self) -> inspect.Signature:
        """Returns the parameters of the constructor, without `self` and `**kwargs`, which presets do not give.

        Raises:
            TorchModuleError: a parameter has the name of one that every backbone has, or none to be given by.
        """
        signature = inspect.signature(self.module_class())
        own = [name for name in _OWN_ARGUMENTS if name in signature.parameters]
        if own:
            problem = f"its constructor has an argument {own[0]!r}, and so has every backbone"
            raise TorchModuleError(self.reference, problem, "Name a function that calls it with another argument")
        nameless = [str(one) for one in signature.parameters.values() if one.kind in _NAMELESS]
        if nameless:
            problem = f"its constructor has the argument {nameless[0]!r}, which no preset can give by name"
            raise TorchModuleError(self.reference, problem, "Name a function that calls it with arguments by name")
        return signature.replace(parameters=[one for one in signature.parameters.values() if one.kind != _KEYWORDS])

    def takes_any(self) -> bool:
        """Says whether the constructor has `**kwargs`."""
        parameters = inspect.signature(self.module_class()).parameters.values()
        return any(one.kind == _KEYWORDS for one in parameters)


_added: dict[str, Declaration] = {}


def declare(
    module: str | Callable[..., Any], inputs: Any = None, name: str | None = None, keep: tuple[str, ...] = ()
) -> Declaration:
    """Declares a module in this process; a later declaration of the same name replaces it."""
    made = None if isinstance(module, str) else module
    reference = module if isinstance(module, str) else _reference(module, name)
    declaration = Declaration(name or _class_name(reference), reference, inputs, keep, made)
    _added[declaration.name] = declaration
    return declaration


def declarations() -> dict[str, Declaration]:
    """Returns the declared modules by the names of their backbone classes.

    Raises:
        SettingsError: the variable has something else than a list of modules.
    """
    return {**_in_environment(os.environ.get(VARIABLE, "")), **_added}


def not_added() -> list[Declaration]:
    """Returns the modules of the variable, without those that were added in Python under the same name."""
    return [one for name, one in declarations().items() if name not in _added]


def declaration(name: str) -> Declaration:
    """Returns the declaration of a backbone class.

    Raises:
        TorchModuleError: the user has named no module of this name.
    """
    known = declarations()
    if name not in known:
        close = close_names(name, known)
        hint = f"Did you mean {close[0]}? Or name" if close else "Name"
        remedy = f"{hint} the file with its code: {VARIABLE}=net.py:{name.removesuffix(_SUFFIX)}, or add it in Python"
        raise TorchModuleError(name, "no file or class of this name was added", remedy)
    return known[name]


@functools.cache
def _in_environment(text: str) -> Mapping[str, Declaration]:
    """Returns the modules in a value of the variable, references separated by commas, by the names of their classes.

    Raises:
        SettingsError: the text has something else.
    """
    references = [one.strip() for one in text.split(",") if one.strip()]
    wrong = next((one for one in references if not _is_reference(one)), None)
    if wrong is not None:
        raise SettingsError(VARIABLE, f"{wrong!r} names no module", _FORM)
    return {name: Declaration(name, reference) for reference in references for name in [_class_name(reference)]}


def _reference(made: Callable[..., Any], name: str | None) -> str:
    """Returns the reference of a class or function, whose last part need not be in the module, for messages."""
    own = getattr(made, "__name__", type(made).__name__)
    reference = f"{getattr(made, '__module__', __name__)}:{own}"
    if not callable(made) or not (name or own.isidentifier()):
        problem = "this is no class or function" if not callable(made) else "it has no name that a class can have"
        raise TorchModuleError(reference, problem, 'Give a class, or a function with add(..., name="NetBackbone")')
    return reference


def _is_reference(text: str) -> bool:
    file, colon, name = text.rpartition(":")
    return bool(file and colon) and name.isidentifier()


def _class_name(reference: str) -> str:
    """Returns the name of the backbone class: that of the module's class, or of the function, and `Backbone`."""
    if not _is_reference(reference):
        raise TorchModuleError(reference, "this is no reference to a class or function", _FORM)
    name = "".join(part[:1].upper() + part[1:] for part in reference.rpartition(":")[2].split("_"))
    return name if name.endswith(_SUFFIX) else name + _SUFFIX


def _imported(reference: str) -> Callable[..., Any]:
    file, _, name = reference.rpartition(":")
    try:
        module = module_of_file(str(Path(file).resolve())) if file.endswith(".py") else _module(reference, file)
    except TorchModuleError:
        raise
    except Exception as error:  # of the user's code
        problem = f"{file} cannot be imported ({exception_text(error)})"
        raise TorchModuleError(reference, problem, "Correct the code") from error
    made = getattr(module, name, None)
    if not callable(made):
        close = close_names(name, vars(module))
        known = f"It has {', '.join(close)}" if close else "Look for the name in it"
        raise TorchModuleError(reference, f"there is no class or function {name!r} in {file}", known)
    return made  # type: ignore[no-any-return]


def _module(reference: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # of an import in the user's code
        raise TorchModuleError(reference, f"there is no Python module {name}", "Correct the name") from None


@functools.cache
def module_of_file(path: str) -> Any:
    """Returns the Python module of a file, which is run once; later changes of the file have no effect.

    Raises:
        TorchModuleError: there is no such file.
    """
    if not Path(path).is_file():
        raise TorchModuleError(path, "there is no such file", "Correct the path")
    name = f"vertebra_torch_module.files.{Path(path).stem}_{zlib.crc32(path.encode()):08x}"  # stems may be equal
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the file look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
