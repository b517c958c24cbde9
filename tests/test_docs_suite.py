"""The example of a source in docs/plugins.md passes the suite, as the example of a test there runs it."""

import re
import sys
import types
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
SOURCE, TEST = re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)

module = sys.modules.setdefault("vertebra_team", types.ModuleType("vertebra_team"))
exec(compile(SOURCE, "vertebra_team.py", "exec"), module.__dict__)
exec(compile(TEST, "test_team.py", "exec"))
