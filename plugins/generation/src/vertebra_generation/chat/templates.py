"""`ChatTemplates`: the chat templates of a preset, in each form in which transformers writes them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from vertebra import PresetFiles
from vertebra.errors import ArgumentError, PresetConfigError, close_names
from vertebra_generation.chat import inputs
from vertebra_generation.chat.errors import ChatTemplateError, NoChatTemplateError
from vertebra_generation.chat.rendering import ChatTemplate, Rendered

_CONFIG = "tokenizer_config.json"
_FILE, _FOLDER, _SUFFIX = "chat_template.jinja", "additional_chat_templates/", ".jinja"
_DEFAULT, _FOR_TOOLS = "default", "tool_use"
_MOST_BYTES = 2 * 2**20


class ChatTemplates:
    """The chat templates of a preset, by name.

    Args:
        templates: The texts of the templates, by name; a single one is named `default`.
        special_tokens: The special tokens that templates may write, such as `{"bos_token": "<s>"}`.
        preset: The name of the preset, for errors.
    """

    def __init__(
        self, templates: Mapping[str, str], special_tokens: Mapping[str, str] | None = None, preset: str = "this preset"
    ) -> None:
        self.templates = dict(templates)
        self._special, self._preset = dict(special_tokens or {}), preset

    @classmethod
    def read(cls, files: PresetFiles, special_tokens: Mapping[str, str] | None = None) -> ChatTemplates:
        """Reads the templates of a preset; a preset may have none.

        Files of templates come before those in `tokenizer_config.json`, as in transformers.

        Args:
            files: The files of the preset.
            special_tokens: As of the class, such as those of `special_tokens_of`.

        Raises:
            PresetConfigError: a file is no text, or has no templates of a known form.
        """
        names = {_DEFAULT: _FILE} if _FILE in files.names else {}
        for name in sorted(files.names):
            inner = name.removeprefix(_FOLDER)
            if name.startswith(_FOLDER) and name.endswith(_SUFFIX) and "/" not in inner:
                names[inner.removesuffix(_SUFFIX)] = name
        templates = {key: _text(files, name) for key, name in names.items()}
        if not templates and _CONFIG in files.names:
            templates = files.json(_CONFIG).read(
                lambda value: _of_config(value.get("chat_template")), lambda found: found
            )
        return cls(templates, special_tokens, str(files.handle))

    def __bool__(self) -> bool:
        return bool(self.templates)

    def select(self, chat_template: str | None = None, *, for_tools: bool = False) -> ChatTemplate:
        """Returns a template.

        Args:
            chat_template: The name of a template, or the text of another one. None takes `tool_use` if there are tools
                and such a template, and else `default`.
            for_tools: Whether there are tools.

        Raises:
            NoChatTemplateError: there is none.
            ArgumentError: there is none of this name.
            ChatTemplateError: it is no valid template.
        """
        if chat_template is None:
            if not self.templates:
                raise NoChatTemplateError(self._preset)
            chat_template = _FOR_TOOLS if for_tools and _FOR_TOOLS in self.templates else _DEFAULT
        if not isinstance(chat_template, str):
            raise ArgumentError(inputs.FUNCTION, "chat_template", chat_template, "a name, or the text of a template")
        if chat_template in self.templates:
            return ChatTemplate(chat_template, self.templates[chat_template])
        if "{" not in chat_template:
            near = close_names(chat_template, self.templates)
            known = ", ".join(sorted(self.templates)) or "none"
            hint = f"did you mean {near[0]!r}?" if near else f"one of the templates of {self._preset}: {known}"
            raise ArgumentError(inputs.FUNCTION, "chat_template", chat_template, hint)
        return ChatTemplate("chat_template", chat_template)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        chat_template: str | None = None,
        now: datetime | None = None,
        **variables: Any,
    ) -> str:
        """Returns the text of a conversation, as transformers' `apply_chat_template` with `tokenize=False`.

        Tokenize it without special tokens: the template writes them.

        Args:
            messages: Dicts with `role` and `content`.
            tools: Functions that the model may call, with types and docstrings, or their JSON schemas.
            documents: Documents that the model may cite, as dicts.
            add_generation_prompt: Whether the text ends with the beginning of the assistant's next message.
            continue_final_message: Whether the text ends in the middle of the last message, which the model continues;
                or the name of the field that it continues, instead of `content`.
            chat_template: As of `select`.
            now: The time that templates may write; None for the present.
            **variables: Further variables of the template, such as `enable_thinking`.

        Raises:
            ArgumentError: an argument has the wrong form.
            NoChatTemplateError: there is no template.
            ChatTemplateError: the template is not valid, refuses the conversation, or computes too much.
        """
        template = self.select(chat_template, for_tools=tools is not None)
        values = self._variables(messages, tools, documents, add_generation_prompt, variables)
        if not continue_final_message:
            return template.render(values, now)
        if add_generation_prompt:
            expected = "False with continue_final_message: the text ends either with the last message or with a new one"
            raise ArgumentError(inputs.FUNCTION, "add_generation_prompt", True, expected)
        field = "content" if continue_final_message is True else continue_final_message
        return _continued(template, values, field, now)

    def render_with_spans(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        now: datetime | None = None,
        **variables: Any,
    ) -> Rendered:
        """Returns the text of a conversation and the parts that the assistant wrote, for training on these alone.

        They are the `{% generation %}` blocks of the template. A template without them is rendered for each beginning
        of the conversation: a part begins where a generation prompt ends.

        Raises:
            ArgumentError, NoChatTemplateError, ChatTemplateError: as `render`; or the parts cannot be found, because
                the template writes a message otherwise when others follow.
        """
        template = self.select(chat_template, for_tools=tools is not None)
        values = self._variables(messages, tools, documents, False, variables)
        if template.has_generation_blocks:
            return template.render_with_spans(values, now)
        return _by_beginnings(template, values, now or datetime.now())

    def _variables(
        self, messages: Any, tools: Any, documents: Any, add_generation_prompt: bool, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        if not isinstance(add_generation_prompt, bool):
            raise ArgumentError(inputs.FUNCTION, "add_generation_prompt", add_generation_prompt, "True or False")
        return (
            self._special
            | {name: inputs.plain(name, value) for name, value in variables.items()}
            | {
                "messages": inputs.conversation(messages),
                "tools": inputs.schemas(tools),
                "documents": inputs.documents(documents),
                "add_generation_prompt": add_generation_prompt,
            }
        )


def special_tokens_of(tokenizer: Any) -> dict[str, str]:
    """Returns the special tokens of a `vertebra_text` tokenizer under the names that templates use."""
    return {f"{role}_token": str(token) for role, token in getattr(tokenizer, "special", {}).items()}


def _of_config(given: Any) -> dict[str, str]:
    """Returns the templates of `tokenizer_config.json`: a text, or a list of names and texts."""
    if given is None:
        return {}
    if isinstance(given, str):
        return {_DEFAULT: given}
    pairs = list(given.items()) if isinstance(given, dict) else given
    if isinstance(given, list):
        pairs = [(item.get("name"), item.get("template")) if isinstance(item, dict) else (None, None) for item in given]
    if not isinstance(pairs, list) or not all(isinstance(part, str) for pair in pairs for part in pair):
        raise PresetConfigError(_CONFIG, "its chat_template is neither a text nor a list of names and templates")
    return dict(pairs)


def _text(files: PresetFiles, name: str) -> str:
    path = files.fetch(name)
    if path.stat().st_size > _MOST_BYTES:
        raise PresetConfigError(name, f"it is larger than {_MOST_BYTES:,} bytes, so it is no chat template")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PresetConfigError(name, "it is no text in UTF-8") from None


def _continued(template: ChatTemplate, values: dict[str, Any], field: Any, now: datetime | None) -> str:
    """Returns the text up to the end of a field of the last message, as the template writes it."""
    last, mark = values["messages"][-1], f"\ufdd0{secrets.token_hex(8)}"
    content = last.get(field) if isinstance(field, str) else None
    names = [name for name in inputs.reasoning_names(str(field)) if last.get(name) == content]
    if isinstance(content, str) and content:
        for name in names:
            last[name] = f"{content}{mark} "
    else:
        content = _mark_block(content, f"{mark} ")
    if content is None:
        expected = f"the name of a field of the last message that holds a text to continue; it has {', '.join(last)}"
        raise ArgumentError(inputs.FUNCTION, "continue_final_message", field, expected)
    text = template.render(values, now)
    before, found, after = text.rpartition(mark)
    if not found or content.strip() not in before:
        raise ChatTemplateError(
            template.name,
            "it does not write the last message as it is, so that the message cannot be continued",
            "Use add_generation_prompt=True, or pass another template as chat_template=",
        )
    return before if after.startswith(" ") else before.rstrip()  # a template that trims would have trimmed the message


def _mark_block(content: Any, mark: str) -> str | None:
    """Appends a mark to the last text of a content that is a list of blocks; returns the text, or None."""
    for block in reversed(content if isinstance(content, list) else []):
        if isinstance(block, dict) and isinstance(block.get("text"), str) and block["text"]:
            text: str = block["text"]
            block["text"] = text + mark
            return text
    return None


def _by_beginnings(template: ChatTemplate, values: dict[str, Any], now: datetime) -> Rendered:
    messages, text, spans = values["messages"], template.render(values, now), []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before, after = "", template.render(values | {"messages": messages[: index + 1]}, now)
        if index:
            before = template.render(values | {"messages": messages[:index], "add_generation_prompt": True}, now)
        if not after.startswith(before) or not text.startswith(after):
            raise ChatTemplateError(
                template.name,
                f"it writes messages[{index}] otherwise when other messages follow, or without a generation prompt, "
                "so that the text of the assistant cannot be found",
                "Add {% generation %} and {% endgeneration %} around the assistant's text in the template",
            )
        spans.append((len(before), len(after)))
    return Rendered(text, spans)
