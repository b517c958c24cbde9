"""Renders a template for one conversation, within a budget, and turns its errors into ours."""

from __future__ import annotations

import re
import secrets
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError

from vertebra.errors import exception_text, printable
from vertebra_generation.chat.budget import Budget, LimitError, spending
from vertebra_generation.chat.environment import RaisedError, compiled
from vertebra_generation.chat.errors import ChatTemplateError

_LONGEST_SOURCE = 512 * 1024
_BLOCK = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a conversation, and the parts of it that the assistant wrote."""

    text: str
    """The text."""
    spans: list[tuple[int, int]]
    """Begin and end of each part of the assistant, in characters, in ascending order."""


class ChatTemplate:
    """One template.

    Args:
        name: Its name, for errors.
        source: Its text, in Jinja.

    Raises:
        ChatTemplateError: it is no valid template.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source
        if len(source) > _LONGEST_SOURCE:
            problem = f"it has {len(source):,} characters, more than {_LONGEST_SOURCE:,}"
            raise ChatTemplateError(name, problem, "Shorten the template, or pass another one as chat_template=")
        with self._errors():
            self._program = compiled(source)

    @property
    def has_generation_blocks(self) -> bool:
        """Whether the template marks the text of the assistant with `{% generation %}`."""
        return _BLOCK.search(self.source) is not None

    def render(self, variables: Mapping[str, Any], now: datetime | None = None) -> str:
        """Returns the text for variables, which consist of JSON's types.

        Raises:
            ChatTemplateError: the template refuses the conversation, fails, or computes too much.
        """
        return self._run(variables, Budget(dict(variables), now))

    def render_with_spans(self, variables: Mapping[str, Any], now: datetime | None = None) -> Rendered:
        """Returns the text, and the parts of it that are in generation blocks.

        Raises:
            ChatTemplateError: as `render`; or the template changes the text of the blocks, so that it is not known
                where they are.
        """
        now = now or datetime.now()  # so that both texts have the same time
        key = secrets.token_hex(8)
        marks = (f"\ufdd0{key}<", f"\ufdd0{key}>")
        marked = self._run(variables, Budget(dict(variables), now, marks))
        found = _spans(marked, marks)
        if found is None or found.text != self.render(variables, now):
            raise ChatTemplateError(
                self.name,
                "it changes the text of its {% generation %} blocks after they are written",
                "Move the filters, such as trim, into the blocks",
            )
        return found

    def _run(self, variables: Mapping[str, Any], budget: Budget) -> str:
        with spending(budget), self._errors():
            return self._program.render(variables)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RaisedError as error:
            words = printable(str(error))
            raise ChatTemplateError(self.name, f"it refuses the conversation: {words}", _OTHER_MESSAGES) from None
        except LimitError as error:
            raise ChatTemplateError(self.name, str(error), _OTHER_TEMPLATE) from None
        except TemplateSyntaxError as error:
            problem = f"line {error.lineno} is no valid Jinja: {printable(error.message or '')}"
            raise ChatTemplateError(self.name, problem, _OTHER_TEMPLATE) from None
        except SecurityError as error:
            problem = f"it does something that templates may not do: {printable(str(error))}"
            raise ChatTemplateError(self.name, problem, _OTHER_TEMPLATE) from None
        except RecursionError:
            raise ChatTemplateError(self.name, "it is nested too deeply", _OTHER_TEMPLATE) from None
        except TemplateError as error:
            problem = f"it failed{_line(error)}: {printable(str(error))}"
            raise ChatTemplateError(self.name, problem, _OTHER_MESSAGES) from None
        except Exception as error:
            problem = f"it failed{_line(error)}: {printable(exception_text(error))}"
            raise ChatTemplateError(self.name, problem, _OTHER_MESSAGES) from None


_OTHER_TEMPLATE = "Correct the template, or pass another one as chat_template="
_OTHER_MESSAGES = "Change the messages, or pass another template as chat_template="


def _line(error: Exception) -> str:
    """Returns the line of the template that raised an error, to which Jinja adds it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f" in line {lines[-1]}" if lines else ""


def _spans(marked: str, marks: tuple[str, str]) -> Rendered | None:
    """Returns the text without marks, and the spans between them; None if they do not come in pairs."""
    text, spans, begins = "", [], []
    for piece in re.split(f"({re.escape(marks[0])}|{re.escape(marks[1])})", marked):
        if piece == marks[0]:
            begins.append(len(text))
        elif piece == marks[1]:
            if not begins:
                return None
            spans.append((begins.pop(), len(text)))
        else:
            text += piece
    return None if begins else Rendered(text, sorted(span for span in spans if span[0] < span[1]))
