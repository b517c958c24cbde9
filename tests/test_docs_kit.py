"""The test classes of the pages about plugins pass; test_docs_suite.py has those without Keras."""

import importlib
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

import vertebra
from pages import page
from vertebra._configuration.settings import settings

pytestmark = pytest.mark.keras

NAMES = ("tutorials/write-a-task", *(f"how-to/{name}" for name in ("write-a-tokenizer", "write-a-strategy")))
NAMES += ("how-to/declare-an-architecture", "how-to/write-a-plugin")
PAGES = "".join(page(f"{name}.md") for name in NAMES)
FILES = re.findall(r"`([\w/]+\.py)`\n\n```python\n(.+?)```", PAGES, flags=re.DOTALL)
FILES = FILES[::-1]  # the first of each name counts
PLUGINS = ("acme_vit", "acme_format", "vertebra_lora_fa", "acme_characters_plugin", "acme_spam_plugin")
TESTS = ("acme_vit", "acme_format", "vertebra_lora_fa", "acme_characters", "acme_spam")
FOLDER = tempfile.TemporaryDirectory(prefix="vertebra_docs_")


def forget():
    """Removes the modules of the pages."""
    names = {name.removesuffix(".py").partition("/")[0] for name, _ in FILES}
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


for name, code in FILES:
    path = Path(FOLDER.name, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(code, encoding="utf-8")
sys.path.insert(0, FOLDER.name)
for name in (*TESTS, *(["vertebra_jax"] if os.environ["KERAS_BACKEND"] == "jax" else [])):
    exec(compile(dict(FILES)[f"test_{name}.py"], f"test_{name}.py", "exec"))
forget()
sys.path.remove(FOLDER.name)


@pytest.fixture(scope="module", autouse=True)
def installed():
    """Adds the plugins of the pages, whose modules can be imported as if they were installed."""
    sys.path.insert(0, FOLDER.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERTEBRA_PREFER", "acme_vit*")  # vertebra-vit reads the same; new processes add it later
        settings.cache_clear()
        for plugin in PLUGINS:
            vertebra.add_plugin(importlib.import_module(plugin), plugin)
        yield
        for plugin in PLUGINS:
            vertebra.remove_plugin(plugin)
    settings.cache_clear()
    forget()
    sys.path.remove(FOLDER.name)
