"""Facts about classes that are read from their source code, because importing them would import a framework."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any

_Kind = inspect.Parameter


def docstring_of(reference: str) -> str | None:
    """Returns the docstring of a class, or None if it has none or its source code is not there.

    Args:
        reference: The class, such as `vertebra_bert.backbone:BertBackbone`; nothing is imported, not even its packages.
    """
    definition = _definition(reference)
    return None if definition is None else ast.get_docstring(definition)


def signature_of(reference: str) -> inspect.Signature | None:
    """Returns the signature of a class's constructor, with annotations as texts, or None if its source has none."""
    definition = _definition(reference)
    nodes = [] if definition is None else definition.body
    methods = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    method = next(methods, None)
    return None if method is None else inspect.Signature(_parameters(method.args)[1:])  # without self


def mentions(reference: str, word: str) -> bool:
    """Says whether a word is in the source code of a class's module, or whether there is none to look in.

    Args:
        reference: The class, as for `docstring_of`.
        word: The word.
    """
    source = _source(reference.partition(":")[0])
    return not source or re.search(rf"\b{re.escape(word)}\b", source) is not None


def _definition(reference: str) -> ast.ClassDef | None:
    module, _, name = reference.partition(":")
    try:
        nodes = ast.parse(_source(module) or "").body
    except Exception:  # faulty code of a plugin, which its import reports
        return None
    return next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name), None)


def _source(module: str) -> str | None:
    try:
        spec = _find(module)
        return spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
    except Exception:  # a loader without source code, or a file that cannot be decoded
        return None


def _find(module: str) -> ModuleSpec | None:
    """Finds a module; unlike `importlib.util.find_spec`, it does not import the packages around it."""
    spec: ModuleSpec | None = None
    path: Sequence[str] | None = None
    for name in itertools.accumulate(module.split("."), "{}.{}".format):
        spec = next(filter(None, (finder.find_spec(name, path) for finder in sys.meta_path)), None)
        path = (spec and spec.submodule_search_locations) or ()
    return spec


def _parameters(arguments: ast.arguments) -> list[inspect.Parameter]:
    before, plain = len(arguments.posonlyargs), [*arguments.posonlyargs, *arguments.args]
    kinds = [_Kind.POSITIONAL_ONLY if number < before else _Kind.POSITIONAL_OR_KEYWORD for number in range(len(plain))]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    found = [_parameter(*facts) for facts in zip(plain, kinds, defaults, strict=True)]
    found += [_parameter(arguments.vararg, _Kind.VAR_POSITIONAL)] if arguments.vararg else []
    keywords: Sequence[Any] = list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    found += [_parameter(argument, _Kind.KEYWORD_ONLY, default) for argument, default in keywords]
    return found + ([_parameter(arguments.kwarg, _Kind.VAR_KEYWORD)] if arguments.kwarg else [])


def _parameter(argument: ast.arg, kind: Any, default: ast.expr | None = None) -> inspect.Parameter:
    annotation = _Kind.empty if argument.annotation is None else ast.unparse(argument.annotation)
    return _Kind(argument.arg, kind, default=_value(default), annotation=annotation)


def _value(default: ast.expr | None) -> Any:
    if default is None:
        return _Kind.empty
    try:
        return ast.literal_eval(default)
    except ValueError:  # the name of a constant, for example
        return _Expression(ast.unparse(default))


class _Expression(str):
    """An expression as text, shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
