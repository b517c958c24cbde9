"""Special and added tokens, from the files in which transformers 4 and 5 write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tokenizers import AddedToken, Tokenizer

from vertebra.errors import PresetConfigError
from vertebra_text.tokenizers.families import Family

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""The special tokens that have an attribute of their own; the fields are called `bos_token` and so on."""
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
"""The field names of transformers 5 and 4."""
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_MOST_TOKENS, _MOST_DIGITS = 2**20, 9


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The special and added tokens of a tokenizer."""

    roles: Mapping[str, AddedToken]
    extra: tuple[AddedToken, ...] = ()
    """Special tokens without a role."""
    declared: Mapping[str, tuple[int, AddedToken]] = field(default_factory=dict)
    """Added tokens whose id is given, by their text."""

    @property
    def texts(self) -> dict[str, str]:
        """The text of each special token, by its role."""
        return {role: token.content for role, token in self.roles.items()}

    def with_extra(self, tokens: Iterable[AddedToken]) -> SpecialTokens:
        """Returns the tokens with further ones."""
        return replace(self, extra=(*self.extra, *tokens))

    def add_to(self, backend: Tokenizer) -> None:
        """Adds the tokens to a tokenizer that does not have them yet, in transformers' order.

        A token without a role that has the text of one with a role replaces its flags, as in transformers.
        """
        present = {token.content for token in backend.get_added_tokens_decoder().values()}
        by_id = [token for _, token in sorted(self.declared.values(), key=lambda pair: pair[0])]
        others = [token for token in (*self.roles.values(), *self.extra) if token.content not in self.declared]
        backend.add_tokens([token for token in (*by_id, *others) if token.content and token.content not in present])

    def check_ids(self, backend: Tokenizer, subject: object) -> None:
        """Raises PresetConfigError if a token has another id than the files say."""
        for text, (index, _) in self.declared.items():
            found = backend.token_to_id(text)
            if found != index:
                problem = f"the added token {text!r} has the id {index}, but would get {found} after the vocabulary"
                raise PresetConfigError(subject, problem, "Use a preset with a tokenizer.json, which stores all ids")


def read_special_tokens(
    config: Mapping[str, Any],
    special_tokens_map: Mapping[str, Any],
    added_tokens: Mapping[str, Any],
    family: Family | None,
    subject: object,
) -> SpecialTokens:
    """Reads the tokens as transformers does: a map of special tokens is older than the list of added tokens.

    Args:
        config: The content of `tokenizer_config.json`.
        special_tokens_map: The content of `special_tokens_map.json`.
        added_tokens: The content of `added_tokens.json`.
        family: Gives the defaults, or None for none.
        subject: The preset, for messages.

    Raises:
        PresetConfigError: a token is neither a text nor an object with a `content`.
    """
    fields = dict(config)
    if "added_tokens_decoder" in config:
        declared = _declared(config["added_tokens_decoder"], subject)
    else:
        fields.update(special_tokens_map)
        declared = _declared_before_version_4(added_tokens, fields, subject)
    roles = {} if family is None else {role: _default(family, role) for role in family.special}
    for name, value in fields.items():
        role = name.removesuffix("_token")
        if not name.endswith("_token") or isinstance(value, bool) or name in _EXTRA:
            continue
        if value is None:
            roles.pop(role, None)
        elif isinstance(value, str | dict):
            text, token = _token(value, name, subject)
            roles[role] = declared[text][1] if text in declared else token
    return SpecialTokens(roles, _extra(fields, declared, subject), declared)


def _default(family: Family, role: str) -> AddedToken:
    return AddedToken(family.special[role], lstrip=role in family.stripping, special=True, normalized=False)


def _extra(
    fields: Mapping[str, Any], declared: Mapping[str, tuple[int, AddedToken]], subject: object
) -> tuple[AddedToken, ...]:
    value = next((fields[name] for name in _EXTRA if fields.get(name)), ())
    values = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(values, list | tuple) or len(values) > _MOST_TOKENS:
        raise PresetConfigError(subject, f"its extra special tokens are {type(values).__name__}, expected a list")
    tokens = [_token(item, "extra_special_tokens", subject) for item in values]
    return tuple(declared[text][1] if text in declared else token for text, token in tokens)


def _declared(value: Any, subject: object) -> dict[str, tuple[int, AddedToken]]:
    if not isinstance(value, dict) or len(value) > _MOST_TOKENS:
        raise PresetConfigError(subject, "added_tokens_decoder is no object of tokens by id")
    found = {}
    for key, item in value.items():
        if not key.isascii() or not key.isdigit() or len(key) > _MOST_DIGITS or not isinstance(item, dict):
            raise PresetConfigError(
                subject, f"added_tokens_decoder has {key[:40]!r}: {item!r}, expected an id and a token"
            )
        text, token = _token(item, "added_tokens_decoder", subject, special=False)
        found[text] = (int(key), token)
    return found


def _declared_before_version_4(
    added: Mapping[str, Any], fields: Mapping[str, Any], subject: object
) -> dict[str, tuple[int, AddedToken]]:
    """Reads `added_tokens.json`, which has texts and ids only."""
    tokens = [fields.get(f"{role}_token") for role in ROLES]
    tokens += [item for name in _EXTRA for item in _items(fields.get(name))]
    special = {
        text for token in tokens if isinstance(text := _text(token), str)
    }  # others are refused where they are read
    found = {}
    for text, index in added.items():
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise PresetConfigError(subject, f"added_tokens.json gives {text!r} the id {index!r}, expected an int")
        is_special = text in special
        found[text] = (index, AddedToken(text, normalized=not is_special, special=is_special))
    return found


def _items(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _text(value: Any) -> Any:
    return value.get("content") if isinstance(value, dict) else value


def _token(value: Any, name: str, subject: object, special: bool = True) -> tuple[str, AddedToken]:
    """Returns the text of a token, and the token."""
    text = _text(value)
    if not isinstance(text, str):
        raise PresetConfigError(subject, f"{name} is {value!r}, expected a text, or an object with the text as content")
    if isinstance(value, str):
        return text, AddedToken(text, special=True, normalized=False)
    flags = {flag: value[flag] for flag in _FLAGS if flag in value}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise PresetConfigError(subject, f"{name} is {value!r}, expected true or false for {', '.join(flags)}")
    return text, AddedToken(text, **{"normalized": not special, **flags, **({"special": True} if special else {})})
