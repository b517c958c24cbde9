"""Keras on torch is imported without torch's compiler, which works as ever once it is imported."""

import functools

import pytest

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_torch(torch):
    """Skips the tests on other runtimes."""


@pytest.fixture
def start(child):
    """Runs code in a new interpreter, which has imported nothing; returns what it printed."""
    return functools.partial(child, interpreter=True)


def test_a_start_imports_no_compiler(start):
    """From the import of Keras to the first numbers, random ones included."""
    printed = start(
        "import sys, vertebra\n"
        "vertebra.use()\n"
        "import keras\n"
        "keras.layers.Dense(2)(keras.random.normal((1, 2)))\n"
        "print(sorted({'torch._dynamo', 'sympy', 'jax'} & sys.modules.keys()))"
    )
    assert printed.split() == ["[]"]


def test_jax_is_imported_when_it_is_used(start):
    """While Keras is imported, by a module of it or of another package, and afterwards."""
    pytest.importorskip("jax")
    printed = start(
        "import sys\n"
        "from vertebra_torch.importing import _deferred_jax\n"
        "with _deferred_jax():\n"
        "    import jax\n"
        "    print(hasattr(jax.monitoring, 'record_scalar'), 'jax.numpy' in sys.modules)\n"
        "    from jax import numpy\n"
        "    import jax.numpy as again\n"
        "    print(numpy is again, sys.modules['jax'].__file__ == jax.__file__)\n"
        "import jax as later\n"
        "print(later is sys.modules['jax'], callable(later.monitoring.record_scalar), int(later.numpy.ones(3).sum()))"
    )
    assert printed.split() == ["True", "False", "True", "True", "True", "True", "3"]


def test_the_compiler_skips_what_keras_excludes_from_it(start):
    """As Keras does itself; the same seed gives the same numbers within a compiled function, and the hook is gone."""
    printed = start(
        "import sys, vertebra, torch\n"
        "vertebra.use()\n"
        "import keras\n"
        "from keras.src.backend.torch import image, random\n"
        "added = [finder for finder in sys.meta_path if type(finder).__module__ == 'vertebra_torch.importing']\n"
        "normal = lambda seed: keras.random.normal((3,), seed=keras.random.SeedGenerator(seed))\n"
        "seeds = keras.random.SeedGenerator(3)\n"
        "program = torch.compile(lambda x: x + keras.random.normal((3,), seed=seeds), backend='eager')\n"
        "print(bool((program(torch.zeros(3)) == normal(3)).all()))\n"
        "print(random.torch_seed_generator._torchdynamo_disable, image._torch_seed_generator._torchdynamo_disable)\n"
        "compiler = torch._dynamo\n"
        "print(type(compiler.__spec__.loader).__name__, compiler.__loader__ is compiler.__spec__.loader)\n"
        "print(len(added), added[0] in sys.meta_path)"
    )
    assert printed.split() == ["True", "True", "True", "SourceFileLoader", "True", "1", "False"]


@pytest.mark.parametrize("first", ["import torch._dynamo", "import keras"])
def test_what_is_imported_before_stays(start, first):
    printed = start(
        f"{first}\n"
        "import torch, vertebra\n"
        "vertebra.use()\n"
        "from keras.src.backend.torch import random\n"
        "print(random.torch_seed_generator._torchdynamo_disable, random.dynamo is torch._dynamo)"
    )
    assert printed.split() == ["True", "True"]


def test_another_use_of_the_compiler_during_the_import_gets_the_compiler(start):
    """As by a later release of Keras, or in another thread."""
    printed = start(
        "import sys, torch\n"
        "from vertebra_torch.importing import _DeferredCompiler\n"
        "deferred = sys.modules['torch._dynamo'] = _DeferredCompiler()\n"
        "@deferred.disable(reason='a test')\n"
        "def excluded(): pass\n"
        "before = excluded\n"
        "from torch._dynamo import is_compiling\n"
        "import torch._dynamo.config\n"
        "print(sys.modules['torch._dynamo'] is not deferred, deferred.is_compiling is is_compiling)\n"
        "print(excluded is not before, excluded._torchdynamo_disable_msg == 'a test')\n"
        "print(deferred.disable(lambda: 0)._torchdynamo_disable)"  # Keras keeps its reference to the deferred module
    )
    assert printed.split() == ["True"] * 5
