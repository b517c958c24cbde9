"""The sandbox that templates run in: Jinja's, without access to Python's internals, and with a budget."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar, cast

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from vertebra_generation.chat.budget import LimitError, current
from vertebra_generation.chat.filters import check_format, check_join, check_replacement, check_sizes, filters

_MOST_BITS = 4096
_METHODS = frozenset(
    [
        "capitalize",
        "casefold",
        "center",
        "count",
        "endswith",
        "find",
        "format",
        "index",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "isidentifier",
        "islower",
        "isnumeric",
        "isprintable",
        "isspace",
        "istitle",
        "isupper",
        "join",
        "ljust",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "replace",
        "rfind",
        "rindex",
        "rjust",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
        "zfill",
    ]
)
"""The methods of texts that templates may call."""


class RaisedError(TemplateError):
    """The template called `raise_exception`."""


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with the functions that chat templates expect, which spends of the current budget."""

    intercepted_binops: ClassVar[frozenset[str]] = frozenset(["+", "*", "**", "%"])  # type: ignore[misc]

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, LoopControlExtension])
        self.filters = filters()
        del self.globals["lipsum"]
        self.globals |= {
            "dict": _Dicts(),
            "namespace": _Names,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = current()
        budget.tick()
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(other, int):
                    budget.allow(budget.weight(one) * max(other, 0))
        whole = isinstance(left, int) and isinstance(right, int)
        if operator == "**" and whole and left.bit_length() * max(right, 0) > _MOST_BITS:
            raise LimitError("it computes a number of too many digits")
        if operator == "%" and isinstance(left, str):
            check_format(left)
            check_sizes(right if isinstance(right, tuple) else (right,), {})
        return budget.measured(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, as Jinja calls it
        budget = current()
        budget.tick()
        args = tuple(budget.collected(item) if isinstance(item, Iterator) else item for item in args)
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, __obj.__name__, args, kwargs)
        return budget.measured(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Returns the sandbox's function for the method `format` of a text."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def formatted(*args: Any, **kwargs: Any) -> str:
            if value.__name__ != "format":
                raise SecurityError(f"templates may not call the method {value.__name__!r} of texts")
            check_format(value.__self__)
            check_sizes(args, kwargs)
            return wrapped(*args, **kwargs)

        return formatted

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Joins the output of a template, macro or block."""
        return current().joined(pieces)


class GenerationBlock(Extension):
    """`{% generation %}`: the text that the assistant writes, which is marked on request."""

    tags: ClassVar[set[str]] = {"generation"}  # type: ignore[misc]

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    def mark(self, caller: Callable[[], str]) -> str:
        """Returns the text of the block."""
        marks, text = current().marks, caller()
        return text if marks is None else f"{marks[0]}{text}{marks[1]}"


class _Counting(NodeTransformer):
    """Lets loops, concatenations and new lists spend of the budget."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802, as Jinja calls it
        self.generic_visit(node)
        node.iter = _filter(cast("nodes.Expr", node.iter), "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "_concatenated")

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if _is_constant(node.items) else _filter(node, "_measured")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if node.ctx != "load" or _is_constant(node.items) else _filter(node, "_measured")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "_measured")


class _Dicts:
    """The function `dict` of templates: the class itself would be a way to Python's internals."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class _Names(Namespace):
    """The function `namespace` of templates, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `self` may be the name of a variable
        self, *given = args
        values = dict(*given, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


@functools.cache
def environment() -> ChatEnvironment:
    """Returns the sandbox of all templates."""
    return ChatEnvironment()


@functools.lru_cache(maxsize=64)
def compiled(source: str) -> Template:
    """Returns the program of a template.

    Raises:
        TemplateError: it is no valid template.
        RecursionError: its parts are nested too deeply.
    """
    tree = _Counting().visit(environment().parse(source))
    return environment().from_string(tree)


def _filter(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=environment())


def _is_constant(items: list[nodes.Expr]) -> bool:
    return all(isinstance(item, nodes.Const) for item in items)


def _check_method(text: str, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    if name not in _METHODS:
        raise SecurityError(f"templates may not call the method {name!r} of texts")
    check_sizes(arguments, named)
    if name == "replace" and len(arguments) >= 2:
        check_replacement(text, str(arguments[0]), str(arguments[1]))
    elif name == "join" and arguments and isinstance(arguments[0], list | tuple | dict):
        check_join(arguments[0], text)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace holds no variable named {name!r}")


def _raise_exception(message: object = "") -> None:
    raise RaisedError(str(message))


def _strftime_now(format: str) -> str:
    current().allow(10_000 * len(format))
    return (current().now or datetime.now()).strftime(format)
