"""`CheckedTranslation`: a plugin's translation whose failures name the plugin, the translation, and the field."""

from __future__ import annotations

import inspect
import json
from collections import UserDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vertebra._system.foreign_json import is_json
from vertebra.errors import PluginError, PresetConfigError, VertebraError, exception_text
from vertebra.errors.base import close_names, shown
from vertebra.translations import TensorRule, Translation

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""The kinds of parameters that take one argument by name."""


class CheckedTranslation(Translation):
    """A translation that checks the results of another one, and types its failures.

    Errors of `vertebra.errors` are raised as they are. A field that `arguments` misses, and a value that it looks up in
    vain, are faults of the preset: PresetConfigError. Every other exception is a fault of the plugin: PluginError.

    Args:
        translation: The plugin's translation.
        reference: The reference by which the plugin's spec names it.
        distribution: The distribution of the plugin.
        origin: The config that is read, for messages.
    """

    def __init__(self, translation: Translation, reference: str, distribution: str, origin: str) -> None:
        self._translation, self._reference, self._distribution = translation, reference, distribution
        self._origin = origin
        for name in ("prefixes", "ignored", "optional"):
            texts = getattr(translation, name)
            sound = isinstance(texts, tuple | list) and all(isinstance(text, str) for text in texts)
            self._require(sound, f"{name} is {shown(texts)}, expected a tuple of strings")
            setattr(self, name, tuple(texts))

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        try:
            arguments = self._translation.arguments(config)
        except VertebraError:
            raise
        except KeyError as error:
            problem = self._problem_of_field(error.args[0] if error.args else None, config)
            if problem is None:
                raise self._failure("arguments", error, f", for {self._origin}") from error
            raise PresetConfigError(self._origin, problem, "Correct the field, or update the plugin") from error
        except Exception as error:
            raise self._failure("arguments", error, f", for {self._origin}") from error
        self._require(_is_table(arguments), f"arguments returned {shown(arguments)}, expected a dict with str keys")
        return dict(arguments)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        config = self._call("config", self._translation.config, arguments)
        self._require(_is_table(config), f"config returned {shown(config)}, expected a dict with str keys")
        for field, value in config.items():
            self._require(is_json(value), f"config returned {field}={shown(value)}, which JSON cannot hold")
        return dict(config)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = self._call("rules", self._translation.rules, arguments)
        self._require(_is_table(rules), f"rules returned {shown(rules)}, expected a dict of TensorRule by weight")
        for weight, rule in rules.items():
            if not isinstance(rule, TensorRule):
                raise self._broken(f"rules returned {shown(rule)} for {weight}, not a TensorRule")
        return dict(rules)

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(self._call("ineffective_arguments", self._translation.ineffective_arguments, arguments))

    def difference(self, arguments: Mapping[str, Any]) -> str | None:
        difference: str | None = self._call("difference", self._translation.difference, arguments)
        return difference

    def numbered_layers(self, arguments: Mapping[str, Any]) -> Mapping[int, str]:
        paths: Mapping[int, str] = self._call("numbered_layers", self._translation.numbered_layers, arguments)
        return paths

    def constants(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        arrays: Mapping[str, Any] = self._call("constants", self._translation.constants, arguments)
        return arrays

    def current_name(self, tensor: str) -> str:
        try:
            return self._translation.current_name(tensor)
        except Exception as error:
            raise self._failure("current_name", error, f", for {tensor!r}") from error

    def check_complete(self, arguments: Mapping[str, Any], backbone_class: type) -> None:
        """Checks that the arguments of a config, with the caller's, are all that a constructor requires.

        Raises:
            PluginError: they are not.
        """
        required = inspect.signature(backbone_class.__init__).parameters.values()  # type: ignore[misc]
        missing = [p.name for p in required if p.default is p.empty and p.kind in _NAMED and p.name not in arguments]
        names = ", ".join(name for name in missing if name != "self")
        needs = f"which {backbone_class.__name__} requires, for {self._origin}"
        self._require(not names, f"arguments returned no {names}, {needs}")

    def check_weights(self, rules: Iterable[str], weights: Iterable[str]) -> None:
        """Compares the weights that have a rule with those of the model.

        Raises:
            PluginError: a rule is for a weight that the model does not have, or a weight has no rule.
        """
        rules, weights = set(rules), set(weights)
        unknown, unnamed = sorted(rules - weights), sorted(weights - rules)
        if unknown:
            similar = close_names(unknown[0], unnamed or weights)
            hint = f", did you mean {similar[0]!r}?" if similar else ""
            raise self._broken(f"rules names weights that the model does not have: {', '.join(unknown[:5])}{hint}")
        self._require(not unnamed, f"rules names no tensor for weights of the model: {', '.join(unnamed[:5])}")

    def check_identifier(self, config: Mapping[str, Any], field: str, identifiers: Iterable[str]) -> None:
        """Checks that a config that is about to be written names an architecture that the translation reads.

        Raises:
            PluginError: it does not.
        """
        named, known = config.get(field), tuple(identifiers)
        self._require(named in known, f"config returned {field}={shown(named)}, expected one of {', '.join(known)}")

    def check_read_back(
        self, config: Mapping[str, Any], arguments: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> None:
        """Checks that a config that is about to be written would be read as the arguments that it is written for.

        Args:
            config: The config.
            arguments: The arguments.
            defaults: The constructor's default values: those of the arguments that reading leaves out.

        Raises:
            PluginError: it would not.
        """
        try:
            again = {**defaults, **self.arguments(config)}
        except VertebraError as error:
            raise self._broken(f"arguments refuses the config that config wrote: {error}") from error
        ineffective = set(self.ineffective_arguments(arguments))
        for name, want in arguments.items():
            have = again.get(name)
            if name in ineffective or _is_same(have, want) or self._have_one_config(config, arguments, name, have):
                continue
            read = f"config wrote {name}={shown(want)}, and arguments reads it as {shown(have)}"
            raise self._broken(f"{read}, so the saved preset would be of another model")

    def _have_one_config(self, config: Mapping[str, Any], arguments: Mapping[str, Any], name: str, have: Any) -> bool:
        """Says whether the format has one config for two values of an argument, such as None and its meaning.

        It has not if `config` forgets the argument, or rounds a number.
        """
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (have, arguments[name])):
            return False
        recorded = Recorded({**arguments, name: have})
        try:
            return self._translation.config(recorded) == config and name in recorded.read
        except Exception:  # a translation refuses what its format cannot represent
            return False

    def _problem_of_field(self, key: Any, config: Mapping[str, Any]) -> str | None:
        """Returns the problem of a config in which the look-up of a key failed, or None if the config has the key."""
        reader = f"{self._reference} of plugin {self._distribution}"
        field = next((name for name, value in _values(config) if type(value) is type(key) and value == key), None)
        if field is not None:
            return f"{field} is {shown(key)}, which {reader} does not know"
        return f"it lacks {key!r}, which {reader} looks up" if isinstance(key, str) and key not in config else None

    def _call(self, method: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        try:
            return function(arguments)
        except VertebraError:
            raise
        except Exception as error:
            given = f", with the arguments {', '.join(arguments)}" if isinstance(error, KeyError) else ""
            raise self._failure(method, error, given) from error

    def _failure(self, method: str, error: Exception, where: str) -> PluginError:
        return self._broken(f"{method} failed ({exception_text(error)}){where}")

    def _require(self, holds: bool, problem: str) -> None:
        if not holds:
            raise self._broken(problem)

    def _broken(self, problem: str) -> PluginError:
        return PluginError(self._distribution, f"{self._reference}: {problem}")


def _values(config: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each value in a config with the name of its field, such as `rope_parameters.rope_type`."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{outer}{name}.")
        else:
            yield f"{outer}{name}", value


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_same(one: Any, other: Any) -> bool:
    """Compares arguments as JSON holds them: a tuple is a list."""
    return bool(one == other) or (is_json([one, other]) and json.dumps(one) == json.dumps(other))


class Recorded(UserDict[str, Any]):
    """Arguments or fields that record which of them are read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.read: set[str] = set()
        super().__init__(values)

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def __or__(self, others: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**self, **others}
