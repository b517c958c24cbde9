"""The test classes in docs/plugins.md pass for the plugins of that page; those of sources are in test_docs_suite.py."""

import importlib
import re
import sys
import tempfile
from pathlib import Path

import pytest

import vertebra

pytestmark = pytest.mark.keras

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.py)`\n\n```python\n(.+?)```", PAGE, flags=re.DOTALL))
PLUGINS = ("acme_vit",)
FOLDER = tempfile.TemporaryDirectory(prefix="vertebra_docs_")


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] in PLUGINS]:
        del sys.modules[name]


for name, code in FILES.items():
    path = Path(FOLDER.name, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(code, encoding="utf-8")
sys.path.append(FOLDER.name)
for plugin in PLUGINS:
    exec(compile(FILES[f"test_{plugin}.py"], f"test_{plugin}.py", "exec"))
forget()
sys.path.remove(FOLDER.name)


@pytest.fixture(scope="module", autouse=True)
def installed():
    """Adds the plugins of the page, whose modules can be imported as if they were installed."""
    sys.path.append(FOLDER.name)
    for plugin in PLUGINS:
        vertebra.add_plugin(importlib.import_module(plugin), plugin)
    yield
    for plugin in PLUGINS:
        vertebra.remove_plugin(plugin)
    forget()
    sys.path.remove(FOLDER.name)
