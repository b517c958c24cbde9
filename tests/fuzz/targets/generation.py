"""Chat templates, which are programs of strangers, and generation configs."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from chat_templates import CONVERSATIONS, TEMPLATES, TOOL
from fuzz.mutations import of_json, of_lines
from fuzz.target import Read, Target

WORDS = (
    "{{",
    "}}",
    "{%",
    "%}",
    "messages",
    "loop",
    "range(99999)",
    "* 99999999",
    "**",
    "~",
    "|join",
    "|tojson",
    "namespace",
)
WORDS += (
    "__class__",
    "__globals__",
    ".format",
    "'{:999999999}'",
    "|replace('a', 'aaaa')",
    "|list",
    "|attr('__class__')",
)
WORDS += (
    "{% for x in messages %}",
    "{% endfor %}",
    "{% macro f(x) %}",
    "{{ f(1) }}",
    "{% endmacro %}",
    "{% generation %}",
)


@contextlib.contextmanager
def rendering(folder: Path) -> Iterator[Read]:
    """Opens the target: a template that is rendered for conversations."""
    import jinja2.debug  # noqa: F401 (imported at the first error)

    from vertebra_generation.chat.templates import ChatTemplates

    def read(data: bytes) -> None:
        templates = ChatTemplates(
            {"default": data.decode("utf-8", "replace")}, {"bos_token": "<s>", "eos_token": "</s>"}
        )
        templates.render(CONVERSATIONS["turns"], tools=[TOOL], add_generation_prompt=True)

    yield read


@contextlib.contextmanager
def config(folder: Path) -> Iterator[Read]:
    """Opens the target: a `generation_config.json` that is read and written."""
    from vertebra import PresetHandle
    from vertebra._tasks.preset_files import LocalFiles
    from vertebra_generation.generation_config import FILE, GenerationConfig

    path = folder / FILE
    path.touch()
    files = LocalFiles.of_folder(PresetHandle("file", str(folder)), folder)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = GenerationConfig.read(files)
        json.dumps([found.to_json(), found.bos_token])

    yield read


CONFIG = {
    "eos_token_id": [1, 2],
    "pad_token_id": 0,
    "do_sample": True,
    "temperature": 0.5,
    "bad_words_ids": [[1], [2, 3]],
}
NEEDS = ("jinja2",)
TARGETS = [
    Target("chat-template", rendering, lambda: [text.encode() for text in TEMPLATES.values()], of_lines, WORDS, NEEDS),
    Target("generation-config", config, lambda: [json.dumps(CONFIG).encode()], of_json, tuple(CONFIG)),
]
