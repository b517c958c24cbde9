"""`Chats`: the chat templates of a `CausalLM`, which its preset has, and which can be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vertebra import PresetFiles
from vertebra.errors import ArgumentError
from vertebra_generation.chat.templates import ChatTemplates, special_tokens_of

_DEFAULT, _FILE = "default", "chat_template.jinja"


class Chats:
    """Renders chats with a task that has a tokenizer."""

    tokenizer: Any
    _chat_templates: ChatTemplates
    _is_own_template: bool

    @property
    def chat_templates(self) -> ChatTemplates:
        """The chat templates of the preset; without any, chats are refused.

        It can be set: to a `ChatTemplates`, or to the text of one template, in Jinja, which `save_to_preset` writes as
        `chat_template.jinja`.
        """
        return self._chat_templates

    @chat_templates.setter
    def chat_templates(self, value: ChatTemplates | str) -> None:
        is_text = isinstance(value, str)
        templates = ChatTemplates({_DEFAULT: value}, special_tokens_of(self.tokenizer)) if is_text else value
        if not isinstance(templates, ChatTemplates):
            raise ArgumentError("CausalLM", "chat_templates", value, "a ChatTemplates, or the text of a template")
        if is_text:
            templates.select()  # raises ChatTemplateError if it is not valid
        self.__dict__.update(_chat_templates=templates, _is_own_template=True)

    def render_chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Returns the prompt for a chat: its text, after which the assistant's answer follows."""
        return self._chat_templates.render(messages, add_generation_prompt=True)

    def read_files(self, files: PresetFiles) -> None:
        """Reads the chat templates of a preset."""
        super().read_files(files)  # type: ignore[misc]
        templates = ChatTemplates.read(files, special_tokens_of(self.tokenizer))
        self.__dict__.update(_chat_templates=templates, _is_own_template=False)

    def further_files(self) -> Mapping[str, bytes]:
        """Returns the chat template, if the user has set one; those of the preset are kept with its other files."""
        text = self._chat_templates.templates.get(_DEFAULT) if self._is_own_template else None
        files: Mapping[str, bytes] = super().further_files()  # type: ignore[misc]
        return files if text is None else {**files, _FILE: text.encode()}
