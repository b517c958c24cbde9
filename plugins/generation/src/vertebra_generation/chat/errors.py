"""Errors of chat templates."""

from __future__ import annotations

from vertebra.errors import VertebraError


class ChatTemplateError(VertebraError, ValueError):
    """A chat template cannot be used, or refuses a conversation.

    Args:
        name: The name of the template, or of its file.
        problem: Why.
        remedy: What to do.
    """

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.name, self.problem, self.remedy = name, problem, remedy
        super().__init__(f"Chat template {name!r}: {problem.rstrip('.')}. {remedy.rstrip('.')}.")


class NoChatTemplateError(ChatTemplateError):
    """The tokenizer of a preset has no chat template."""

    def __init__(self, preset: str) -> None:
        super().__init__(
            preset,
            "this preset has none, as models that were not trained on conversations",
            "Pass chat_template=, the text of a Jinja template; or write it into the preset, as chat_template.jinja; "
            "or generate from a text instead of messages",
        )
