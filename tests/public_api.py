"""Lists the public API: every name that a change could take from users and authors of plugins, with its parameters.

`make api` writes the list to `tests/golden/public_api.txt`, as of a release. Nothing is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_name("golden") / "public_api.txt"
PACKAGES = {
    "vertebra": ROOT / "registry/src/vertebra",
    "vertebra_text": ROOT / "plugins/text/src/vertebra_text",
    "vertebra_generation": ROOT / "plugins/generation/src/vertebra_generation",
}
PROGRAMS = ("vertebra.cli", "vertebra.builtin")
"""Packages without an underscore whose interface is the command, and hooks."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_api() -> list[str]:
    """Returns a line for each public module, class, function, method, parameter list, field and constant."""
    return sorted({line for package, folder in PACKAGES.items() for line in _of_package(package, folder)})


def _of_package(package: str, folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        module = ".".join(part for part in parts if part != "__init__")
        is_public = not any(part.startswith("_") for part in module.split(".")) and not module.startswith(PROGRAMS)
        if is_public and (package == "vertebra" or path.name == "__init__.py" or "testing" in parts):
            yield from _of_module(module, ast.parse(path.read_text(encoding="utf-8")))


def _of_module(module: str, tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _reexports(module, node.body)
        yield from _reexports(module, [node])
        yield from _of_definition(module, node)


def _reexports(module: str, body: list[ast.stmt]) -> Iterator[str]:
    """Yields the names that a module exports from others, as `from a import b as b`."""
    for node in body:
        if isinstance(node, ast.ImportFrom):
            names = (alias.asname for alias in node.names if alias.asname == alias.name)
            yield from (f"{module}.{name}" for name in names if name and not name.startswith("_"))


def _of_definition(owner: str, node: ast.stmt) -> Iterator[str]:
    if isinstance(node, Function) and node.name.startswith("test_"):  # a rule, which docs/rules lists
        return
    if isinstance(node, Function) and (not node.name.startswith("_") or node.name == "__init__"):
        is_property = any("property" in ast.unparse(one) for one in node.decorator_list)
        yield f"{owner}.{node.name}" + ("" if is_property else f"({_parameters(node.args)})")
    elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        yield f"{owner}.{node.name}({', '.join(map(ast.unparse, node.bases))})"
        for member in node.body:
            yield from _of_definition(f"{owner}.{node.name}", member)
    elif isinstance(node, ast.AnnAssign | ast.Assign):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
        names = (target.id for target in targets if isinstance(target, ast.Name))
        yield from (f"{owner}.{name}" for name in names if not name.startswith("_") and name != "TYPE_CHECKING")


def _parameters(arguments: ast.arguments) -> str:
    """Returns the parameters with their defaults, and without types."""
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if one is not None:
            one.annotation = None
    return ast.unparse(arguments)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in public_api()))
