"""The keys of PEFT's `rank_pattern` and `alpha_pattern`: names of modules, or regular expressions.

PEFT 0.21 takes the first key for which `re.match(rf"(.*\\.)?({key})$", module)` matches (`get_pattern_key` in
`peft/utils/other.py`). Configs are untrusted, and Python's `re` may take exponential time, so RE2 matches expressions,
in time that is linear in the length of the name. Only syntax with the same meaning in both is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from vertebra.errors import LoraConfigError

_MAX_KEYS = 10_000
_MAX_EXPRESSIONS = 32
_MAX_CHARACTERS = 1_000
_MAX_BYTES = 2**16
"""Memory that RE2 may use for one expression, which bounds the time of a match."""

_NAME = re.compile(r"\^?[\w.\-]+")
"""A key without syntax except dots and a leading `^`, which PEFT documents for full names."""
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_SAME_ESCAPES = "dDwWsSbBA"
_OTHER_SYNTAX = {
    "lookaround, flags, and groups other than (…) and (?:…)": re.compile(r"\(\?(?!:)"),
    "a repetition without a lower bound; write {0,n}": re.compile(r"\{,"),
    "a set within a set": re.compile(r"\[\^?\["),
}

Matcher = Callable[[str], bool]


class PatternTable:
    """Values for modules, by PEFT's patterns.

    Args:
        path: The config file, for messages.
        field: The field of the config that holds the table.
        table: Values by pattern, in the order in which PEFT tries the patterns.

    Raises:
        LoraConfigError: the table is not a mapping, has too many keys, or has an unsupported key.
    """

    def __init__(self, path: object, field: str, table: Any) -> None:
        if not isinstance(table, Mapping | None):
            raise LoraConfigError(path, field, table, "a mapping from patterns to values")
        self.values: Mapping[str, Any] = dict(table or {})
        self._source = path, field
        self._expressions = [key for key in self.values if not _NAME.fullmatch(key)]
        if len(self.values) > _MAX_KEYS or len(self._expressions) > _MAX_EXPRESSIONS:
            counts = f"{len(self.values)} keys, {len(self._expressions)} of them regular expressions"
            limits = f"at most {_MAX_KEYS} keys, {_MAX_EXPRESSIONS} of them regular expressions"
            raise LoraConfigError(path, field, counts, limits, "Name the modules, or use fewer expressions")
        self._matchers = [(self._matcher(key), value) for key, value in self.values.items()]

    def get(self, module: str, default: Any) -> Any:
        """Returns the value of the first pattern that matches a module's full name, or its end after a dot.

        Raises:
            LoraConfigError: the name is not ASCII, and the table has regular expressions: RE2's character classes are
                ASCII only, and Python's are not.
        """
        if self._expressions and not (module.isascii() and module.isprintable()):
            expected = f"names of modules where a module is called {module!r}: its characters are not all ASCII"
            raise LoraConfigError(*self._source, self._expressions[0], expected, "List the modules by name")
        for matches, value in self._matchers:
            if matches(module):
                return value
        return self.values.get(module, default)

    def _matcher(self, key: str) -> Matcher:
        return _expression_matcher(self._source, key) if key in self._expressions else _name_matcher(key)


def _name_matcher(key: str) -> Matcher:
    """Returns a matcher for a key without other syntax; as in regular expressions, a dot matches any character."""
    name = key.removeprefix("^")
    is_full = name != key
    last = name.rpartition(".")[2]

    def matches(module: str) -> bool:
        start = len(module) - len(name)
        if start < 0 or not module.endswith(last) or (start > 0 and (is_full or module[start - 1] != ".")):
            return False
        end = module[start:]
        return name == end or all(wanted in (".", actual) for wanted, actual in zip(name, end, strict=True))

    return matches


def _expression_matcher(source: tuple[object, str], key: str) -> Matcher:
    problem = _problem(key)
    if problem is None:
        import re2  # 4 ms, and few adapters have expressions

        options = re2.Options()
        options.max_mem, options.never_capture, options.log_errors = _MAX_BYTES, True, False
        try:
            expression = re2.compile(rf"(.*\.)?({key})$", options)
            return lambda module: expression.match(module) is not None
        except re2.error as error:
            problem = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
    expected = f"a regular expression that can be matched in linear time: {problem}"
    remedy = "List the modules by name instead, or write it without that"
    raise LoraConfigError(*source, key, expected, remedy)


def _problem(key: str) -> str | None:
    """Returns why an expression is refused: syntax that RE2 lacks or interprets differently; None if it is accepted."""
    if len(key) > _MAX_CHARACTERS:
        return f"it has {len(key)} characters, and {_MAX_CHARACTERS} are read"
    if not (key.isascii() and key.isprintable()):
        return "it has characters other than printable ASCII"
    for escaped in _ESCAPE.findall(key):
        if not escaped or (escaped.isalnum() and escaped not in _SAME_ESCAPES):
            return f"\\{escaped} is not supported" + (" (a backreference)" if escaped in "123456789" else "")
    plain = "(" + _ESCAPE.sub(".", key)  # PEFT, too, puts it in a group
    return next((f"{name} are not supported" for name, syntax in _OTHER_SYNTAX.items() if syntax.search(plain)), None)
