"""The rules of the house (docs/concepts/design.md), as far as a machine can check them."""

import ast
import functools
import graphlib
import io
import os
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import vertebra
from vertebra import errors
from vertebra._discovery import catalog

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {"keras", "torch", "jax", "jaxlib", "tensorflow", "flax", "transformers", "keras_hub", "peft"}
HEAVY = FRAMEWORKS | {"numpy", "ml_dtypes", "h5py", "safetensors", "rich", "PIL", "tokenizers"}
CLOUD_CLIENTS = {"huggingface_hub", "kagglehub", "boto3", "botocore", "s3fs", "fsspec", "requests", "httpx", "aiohttp"}
CLOUD_CLIENTS |= {"httpx2", "obstore", "kagglesdk", "urllib3", "oras", "modelscope_hub", "ray", "pandas"}
CLOUD_CLIENTS |= {"filelock", "tenacity"}  # what only transfers need
CLOUD_CLIENTS |= {"annotated_types", "shtab"}  # what only constructors and shell completion need


@dataclass(frozen=True)
class Distribution:
    """A member of the workspace."""

    folder: Path

    def __str__(self) -> str:
        return self.folder.name

    @property
    def name(self) -> str:
        return "vertebra" if self.folder.name == "registry" else f"vertebra-{self.folder.name}"

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @functools.cached_property
    def project(self):
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    @functools.cached_property
    def paths(self) -> list[Path]:
        """The files of all modules, without the templates of `vertebra new`, which are the modules of other plugins."""
        return sorted(path for path in (self.folder / "src").rglob("*.py") if "templates" not in path.parts)

    @functools.cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Every module, by its dotted name."""
        source = self.folder / "src"
        paths = {path: path.relative_to(source).with_suffix("").parts for path in self.paths}
        return {".".join(parts).removesuffix(".__init__"): parse(path) for path, parts in paths.items()}


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


CORE = Distribution(ROOT / "registry")
PLUGINS = [Distribution(path.parent) for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
ADAPTERS = [Distribution(path.parent) for path in sorted(ROOT.glob("adapters/*/pyproject.toml"))]
MEMBERS = [*PLUGINS, *ADAPTERS]
ENTRIES = {name: module for member in MEMBERS for name, module in member.project["entry-points"]["vertebra"].items()}

each_distribution = pytest.mark.parametrize("distribution", [CORE, *MEMBERS], ids=str)
each_member = pytest.mark.parametrize("member", MEMBERS, ids=str)


def nodes(distribution: Distribution, kind: type) -> Iterator[tuple[str, ast.AST]]:
    """Yields all nodes of a kind, each with the name of its module."""
    for module, tree in distribution.modules.items():
        for node in nodes_of(tree):
            if isinstance(node, kind):
                yield module, node


@functools.cache
def nodes_of(tree: ast.Module) -> list[ast.AST]:
    return list(ast.walk(tree))


@functools.cache
def tokens(path: Path) -> list[tokenize.TokenInfo]:
    """The names, texts and comments of a module."""
    found = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return [token for token in found if token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT)]


# === 1. Importing and listing is fast: contributions are data ===


COLLECT = "from vertebra._discovery import catalog as c; [list(c.catalog(k)) for k in c.KINDS]; list(c.presets())"


@pytest.mark.parametrize("code", ["import vertebra", *(f"import {name}" for name in ENTRIES.values()), COLLECT])
def test_importing_and_listing_imports_no_framework_and_no_client(code, python):
    """The process has imported the command and all plugins before, which must not import more, either."""
    probe = f"import sys\n{code}\nprint(' '.join(name.partition('.')[0] for name in sys.modules))"
    done = python(["-c", probe], text=True, timeout=60)
    assert (done.returncode, (HEAVY | CLOUD_CLIENTS) & set(done.stdout.split())) == (0, set())


# === 2. The core names nobody ===


def owned_names() -> set[str]:
    """Names that belong to plugins: theirs, their schemes', architectures' and runtimes'."""
    presets = [entry.value for entry in catalog.presets()]
    return (
        {member.name for member in MEMBERS}
        | {member.package for member in MEMBERS}
        | (ENTRIES.keys() - {"text", "kerashub"})  # also the names of a type and of a format
        | {entry.name for kind in (catalog.BACKBONES, catalog.RUNTIMES) for entry in catalog.catalog(kind)}
        | {preset.handle.partition(":")[0] for preset in presets}
        | {preset.name for preset in presets}
        | {
            "gpt2",
            "gemma",
            "llama",
            "hf",
            "huggingface",
            "s3",
            "gs",
            "gcs",
            "az",
            "azure",
            "abfs",
            "https",
        }  # http is also the name of a module
        | (FRAMEWORKS - {"keras", "transformers", "peft"})  # the last two are also names of formats
    )


def test_the_core_names_no_plugin_scheme_architecture_or_framework():
    forbidden = {name.lower() for name in owned_names()} - {"text"}  # the name of a plugin, and a common word
    found = {
        f"{module}:{node.lineno}: {node.value!r}"
        for module, node in nodes(CORE, ast.Constant)
        if isinstance(node.value, str) and node.value.lower().removesuffix("://") in forbidden
    }
    assert found == set()


def test_the_core_imports_what_it_declares_and_no_framework_but_keras():
    declared = {re.split(r"[<>=~\[ ]", need)[0].replace("-", "_") for need in CORE.project["dependencies"]}
    assert not declared & (FRAMEWORKS - {"keras"})
    module_names = {"google_re2": "re2"}  # of distributions that are called otherwise
    allowed = {*(module_names.get(name, name) for name in declared), "vertebra", *sys.stdlib_module_names}
    extras = {"vertebra.testing": {"pytest"}, "vertebra.http": {"urllib3"}}  # of the room that needs them
    found = {
        f"{module}: {name}"
        for module, tree in CORE.modules.items()
        for name in imported_names(tree)
        if name.partition(".")[0] not in allowed | extras.get(".".join(module.split(".")[:2]), set())
    }
    assert found == set()


def test_the_core_never_asks_which_scheme_it_has():
    def is_scheme(node: ast.AST) -> bool:
        return getattr(node, "attr", getattr(node, "id", None)) == "scheme"

    compared = [(module, [node.left, *node.comparators]) for module, node in nodes(CORE, ast.Compare)]
    matched = [(module, [node.subject]) for module, node in nodes(CORE, ast.Match)]
    assert [module for module, sides in compared + matched if any(map(is_scheme, sides))] == []


# === 3. Layers ===


def imported_names(node: ast.AST) -> Iterator[str]:
    """Yields the dotted name of everything that is imported below a node, in functions and for type checkers, too."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "relative imports hide what they import"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


@functools.cache
def import_graph(distribution: Distribution) -> dict[str, set[str]]:
    """Maps each module to those of its distribution that it imports, at any time; a package is its own module."""
    graph: dict[str, set[str]] = {module: set() for module in distribution.modules}
    for module, tree in distribution.modules.items():
        for name in imported_names(tree):
            found = name if name in graph else name.rpartition(".")[0]
            if found in graph and not f"{module}.".startswith(f"{found}."):
                graph[module].add(found)
    graph.get(CORE.package, set()).clear()  # the package's names are found when they are asked for
    return graph


@each_distribution
def test_modules_import_each_other_in_one_direction(distribution):
    graphlib.TopologicalSorter(import_graph(distribution)).prepare()


@each_distribution
def test_packages_import_each_other_in_one_direction(distribution):
    packages: dict[str, set[str]] = {}
    for module, imports in import_graph(distribution).items():
        one, *others = (name.split(".")[1:2] for name in (module, *sorted(imports)))
        packages.setdefault("".join(one), set()).update("".join(other) for other in others if other != one)
    graphlib.TopologicalSorter(packages).prepare()


def test_the_graph_of_imports_is_seen():
    graph = import_graph(CORE)
    assert {"vertebra.errors", "vertebra._discovery.plugins"} <= graph["vertebra._discovery.catalog"]
    assert graph["vertebra.errors.base"] == set()


def public_names_of_needed_plugins(member: Distribution) -> set[str]:
    """Returns the public names of the plugins that one declares as dependencies."""
    needs = {re.split(r"[<>=~\[ ]", need)[0] for need in member.project["dependencies"]}
    found = set()
    for other in (other for other in MEMBERS if other.name in needs):
        names = next(
            ast.literal_eval(node.value)
            for node in other.modules[other.package].body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        found |= {other.package, *(f"{other.package}.{name}" for name in names)}
    return found


@each_member
def test_plugins_import_only_public_names_of_the_core_and_of_plugins_that_they_need(member):
    needed = public_names_of_needed_plugins(member)
    public = {f"vertebra.{name}" for name in vertebra.__all__} | {"vertebra"}
    public |= {f"vertebra.errors.{name}" for name in vars(errors) if not name.startswith("_")}
    found = set()
    for module, tree in member.modules.items():
        for name in imported_names(tree):
            owner = name.partition(".")[0]
            of_core = owner == "vertebra" and name not in public and not name.startswith("vertebra.testing")
            of_other = owner.startswith("vertebra_") and owner != member.package and name not in needed
            if of_core or of_other:
                found.add(f"{module}: {name}")
    assert found == set()


@each_member
def test_plugins_touch_no_private_name_of_the_core(member):
    found = {
        f"{module}: vertebra.{node.attr}"
        for module, node in nodes(member, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "vertebra" and node.attr not in vertebra.__all__
    }
    assert found == set()


KERAS_INTERNALS = "vertebra._keras.internals"
OF_OTHERS = {
    "os._exit",
    "sys._getframe",
    "hashlib._Hash",
    "argparse._SubParsersAction",
    "parser._actions",  # argparse's
    "commands._choices_actions",  # argparse's
    "client.http_client()._session",
    "super()._apply",  # torch's
    "module._modules",  # torch's
    "module._flat_weights_names",  # of torch's recurrent layers
    "outputs._asdict",  # of named tuples
    "aten._unsafe_view",  # this and the following: kernels of torch, whose names in its graphs begin so
    "aten._to_copy",
    "torch._int_mm",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "torch.ops.mkldnn._linear_pointwise",
    "torch.ops.mkldnn._reorder_linear_weight",
    "torch.ops.mkldnn._is_mkldnn_bf16_supported",
    "node.target._schema",  # torch's: the arguments that a kernel writes to or returns
    "self.modules[_KERAS_MODULE]._parameters",  # torch's: the dict in which torch's tools replace tensors
}


def texts(distribution: Distribution) -> Iterator[tuple[str, str]]:
    """Yields every text in the code, each with the name of its module."""
    for module, node in nodes(distribution, ast.Constant):
        if isinstance(node.value, str):
            yield module, node.value


def defined_names(distribution: Distribution) -> set[str]:
    """Returns the names of functions, of fields, and of attributes that methods give their own object."""
    found = {node.name for _, node in nodes(distribution, ast.FunctionDef)}
    found |= {node.target.id for _, node in nodes(distribution, ast.AnnAssign) if isinstance(node.target, ast.Name)}
    found |= {
        node.attr
        for _, node in nodes(distribution, ast.Attribute)
        if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in ("self", "cls")
    }
    return found


def keras_private_names() -> set[str]:
    """Returns the private attributes of Keras's objects, and keys of its global state, that Vertebra uses."""
    tree = CORE.modules[KERAS_INTERNALS]
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    strings = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {name for name in attributes if name.startswith("_")} | {
        name for name in strings if re.fullmatch(r"[a-z]*(_[a-z0-9]+)+", name)
    }


@each_distribution
def test_one_module_imports_the_private_modules_of_keras(distribution):
    found = {(module, name) for module, tree in distribution.modules.items() for name in imported_names(tree)}
    found |= {(module, ast.unparse(node)) for module, node in nodes(distribution, ast.Attribute)}
    found |= set(texts(distribution))  # as importlib takes them
    assert {module for module, name in found if f"{name}.".startswith("keras.src.")} <= {KERAS_INTERNALS}


@each_distribution
def test_one_module_touches_private_attributes_of_keras_s_objects(distribution):
    """Any other private attribute is of an object itself, or of a class of the same distribution."""
    own, of_keras = defined_names(distribution), keras_private_names()
    found = set()
    for module, node in nodes(distribution, ast.Attribute):
        if not re.match("_(?!_)", node.attr):
            continue
        owner = ast.unparse(node.value)
        allowed = own if owner in ("self", "cls", "super()") else own - of_keras
        if node.attr not in allowed and f"{owner}.{node.attr}" not in OF_OTHERS:
            found.add(f"{module}:{node.lineno}: {owner}.{node.attr}")
    found |= {f"{module}: {text!r}" for module, text in texts(distribution) if text in of_keras}
    assert {place for place in found if not place.startswith(KERAS_INTERNALS)} == set()


def test_the_private_names_of_keras_are_seen():
    assert {
        "_tracker",
        "_kernel",
        "_int4_block_size",
        "_backend_update_step",
        "current_call_ctx",
    } <= keras_private_names()


# === 4. Shape ===


LEFT_BY_TOOLS = {"__pycache__", "build", "dist", "demo_output"}


def visible(folder: Path) -> set[str]:
    """Names in a folder, without what tools leave there."""
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if not name.startswith(".") and name not in LEFT_BY_TOOLS}


def test_there_are_no_other_folders_at_the_top():
    folders = {name for name in visible(ROOT) if (ROOT / name).is_dir()}
    assert folders == {"registry", "plugins", "adapters", "tests", "docs", "findings"}


@each_distribution
def test_each_distribution_has_the_same_shape(distribution):
    assert visible(distribution.folder) == {"pyproject.toml", "README.md", "LICENSE", "src"}
    packages = {name for name in visible(distribution.folder / "src") if not name.endswith(".egg-info")}
    assert packages == {distribution.package}
    assert distribution.project["name"] == distribution.name
    shared = ("dynamic", "license", "license-files", "readme", "requires-python", "classifiers")
    assert {field: distribution.project[field] for field in shared} == {field: CORE.project[field] for field in shared}


OF_PROGRAMS = {"vllm.general_plugins"}
"""Groups of entry points by which other programs find a plugin."""


@each_member
def test_each_plugin_is_declared_in_the_same_way(member):
    module = f"{member.package}.plugin"
    own = {group: names for group, names in member.project["entry-points"].items() if group not in OF_PROGRAMS}
    assert own == {
        "vertebra": {member.folder.name: module},
        "vertebra.api": {str(vertebra.API_VERSION): module},
    }
    assert module in member.modules
    assert any(re.match(r"vertebra(\[(http|torch)\])?>=", need) for need in member.project["dependencies"])


def test_all_adapters_have_a_file_for_each_part_of_the_interface():
    """Further ones are of a compiler of the adapter's own."""
    files = [{module.removeprefix(f"{adapter.package}.") for module in adapter.modules} for adapter in ADAPTERS]
    assert len(files) > 1
    shared = {"plugin", "runtime", "models", "tensors", "dropping", "devices", "compiling"}
    assert all(names >= shared for names in files)


def test_tests_mirror_the_source():
    assert visible(ROOT / "tests") >= {"registry", "plugins", "faults", "benchmarks"}
    tested = {
        path.parent.name for path in ROOT.glob("tests/*/*/test_*.py") if path.parts[-3] in ("plugins", "adapters")
    }
    assert tested <= {member.folder.name for member in MEMBERS}


# === 5. Small, documented modules behind one door ===


def files() -> Iterator[Path]:
    """Yields the files of the repository, without what tools leave there."""
    for folder, inner, names in os.walk(ROOT):
        inner[:] = visible(Path(folder)) & set(inner) | {".ci"} & set(inner)
        yield from (Path(folder, name) for name in sorted(names))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Counts the lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


MOST_MODULES, MOST_LINES = 19, 350


@each_distribution
def test_no_folder_holds_many_modules_and_no_module_many_lines(distribution):
    folders = Counter(path.parent for path in distribution.paths if path.name != "__init__.py")
    assert {relative(folder): count for folder, count in folders.items() if count > MOST_MODULES} == {}
    lines = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in distribution.paths}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def is_described(tree: ast.Module) -> bool:
    docstring = ast.get_docstring(tree) or ""
    return docstring.partition("\n")[0].rstrip().endswith((".", ":", "?"))


def long_functions(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yields the functions within a node; expressions, which have none, are most of the nodes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := body_lines(child)) > 50:
            yield child.name, lines
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from long_functions(child)


def test_each_module_says_what_it_holds_in_small_functions():
    undescribed, long = [], {}
    for path in files():
        if path.suffix == ".py":
            tree = ast.parse(path.read_bytes())  # not kept in memory, as there are many tests
            undescribed += [] if is_described(tree) else [relative(path)]
            long |= {f"{relative(path)}: {name}": lines for name, lines in long_functions(tree)}
    assert undescribed == []
    assert long == {}


def test_the_public_names_are_sorted_and_have_a_home():
    assert vertebra.__all__ == sorted(set(vertebra.__all__))
    modules = {name for name in vertebra.__all__ if f"vertebra.{name}" in CORE.modules}
    assert set(vertebra.__all__) == vertebra._HOMES.keys() | modules | {"Backbone"}
    assert all(f"vertebra.{home}" in CORE.modules for home in vertebra._HOMES.values())


# === 6. Nothing of the machine that it was written on ===

MACHINE_PATH = re.compile(rb"(?<![\w.~$)}/-])/(?:home/\w|Users/\w|root\b|work\b|opt\b|tmp/envs\b|mnt/)[^\s\"'`)]*")
REGISTRY = re.compile(rb"https?://[^\s\"'`)]*(?:pypi|pythonhosted|anaconda|artifactory|pytorch\.org/whl|/simple\b)")


TEXT = {".py", ".md", ".toml", ".json", ".txt", ".yml", ".yaml", ".cfg", ".svg", ".html", ".sh", ""}


def test_no_file_speaks_of_a_machine_or_a_package_registry():
    found = {
        f"{relative(path)}: {match.group().decode(errors='replace')}"
        for path in files()
        if path.suffix in TEXT and path != Path(__file__)
        for pattern in (MACHINE_PATH, REGISTRY)
        for match in pattern.finditer(path.read_bytes())
    }
    assert found == set()


# === 7. Standard terms in plain English ===

PRONOUNS = r"somebody|someone|nobody|anybody|everybody|whoever|whomever"
OWN_ENGLISH = r"anew|elsewhere|beside|stands?|stood"
NAMELESS = r"what (?:is|are|was|were|has|had|others?|it|they|another)"
BANNED_WORDS = re.compile(rf"\b(?:{PRONOUNS}|{OWN_ENGLISH}|{NAMELESS})\b", re.IGNORECASE)
"""Words whose subject a reader has to guess; docs/reference/glossary.md has the terms to use."""
BANNED_NAMES = re.compile(r"_?(?:places?|stand_in|go_on|beside|anew)")
"""Names that meant many things."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of documentation, or the texts and comments of a module, each with the number of its line."""
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
        yield from enumerate(
            re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), text, flags=re.S).splitlines(), 1
        )
        return
    for token in tokens(path):
        is_key = re.fullmatch(r"\"\w+\"", token.string)  # of JSON and of files, which stay
        if token.type in (tokenize.STRING, tokenize.COMMENT) and not is_key:
            yield from enumerate(token.string.splitlines(), token.start[0])


TRAINING_DATA = {"grammar.py", "sentences.py"}


def written_for_readers() -> list[Path]:
    sources = [
        path for distribution in (CORE, *MEMBERS) for path in distribution.paths if path.name not in TRAINING_DATA
    ]
    return sorted([*sources, *(path for path in files() if path.suffix == ".md")])


def test_subjects_are_named_by_standard_terms():
    found = [
        f"{relative(path)}:{number}: {match[0]!r}"
        for path in written_for_readers()
        for number, line in prose(path)
        for match in BANNED_WORDS.finditer(line)
    ]
    assert found == []


@each_distribution
def test_no_name_has_many_meanings(distribution):
    found = set()
    for path in distribution.paths:
        for token in tokens(path):
            if token.type == tokenize.NAME and BANNED_NAMES.fullmatch(token.string):
                found.add(f"{relative(path)}:{token.start[0]}: {token.string}")
    assert found == set()
