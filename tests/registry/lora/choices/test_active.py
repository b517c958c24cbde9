"""Blocks in which adapters are chosen: they end in any order and in any thread, and leave no state behind."""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import keras
import pytest

from vertebra._lora.choices import active
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras


@pytest.fixture
def name_of(several, inputs):
    """Returns the adapter that a call without its own choice uses."""
    backbone, outputs = several

    def find(inputs=inputs):
        found = keras.ops.convert_to_numpy(backbone(inputs)["sequence_output"])
        gaps = {name: abs(found - known["sequence_output"]).max() for name, known in outputs.items()}
        return min(gaps, key=gaps.get)

    return find


@pytest.fixture
def stream(several, name_of):
    """Returns a generator that computes in a block, twice."""

    def compute(name):
        with several[0].lora_rows(name):
            yield name_of()
            yield name_of()

    return compute


def test_blocks_of_generators_end_in_any_order(stream, name_of):
    first, second = stream("a"), stream("b")
    assert (next(first), next(second), next(first)) == ("a", "b", "b")  # the block entered last is the innermost
    first.close()
    assert next(second) == "b"
    second.close()
    assert name_of() == "c"
    assert not active.has_blocks()


def test_a_block_that_is_closed_in_another_thread_is_over_in_its_own(stream, name_of):
    generator = stream("a")
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as other:
        assert pool.submit(next, generator).result() == "a"
        other.submit(generator.close).result()
        assert pool.submit(name_of).result() == "c"
        assert other.submit(name_of).result() == "c"


def test_a_block_that_goes_on_in_another_context_without_its_choice_says_so(stream):
    generator = stream("a")
    contexts = [contextvars.copy_context() for _ in range(3)]
    assert contexts[0].run(next, generator) == "a"
    assert contexts[1].run(next, generator) == "c"
    with pytest.raises(LoraStateError, match="in another thread or context than it began in"):
        contexts[2].run(next, generator)


def test_an_error_in_a_block_is_raised_as_it_is_wherever_the_block_ends(stream):
    generator = stream("a")
    contextvars.copy_context().run(next, generator)
    with pytest.raises(KeyError, match="theirs"):
        generator.throw(KeyError("theirs"))


def test_a_task_that_is_started_in_a_block_keeps_its_choice(several, name_of):
    async def later(over):
        await over.wait()
        return name_of()

    async def main():
        over = asyncio.Event()
        with several[0].lora_rows("a"):
            task = asyncio.create_task(later(over))
        over.set()
        return await task, name_of()

    assert asyncio.run(main()) == ("a", "c")


def test_a_block_that_is_over_is_not_kept(several, stream):
    backbone, _ = several
    generator = stream("a")
    next(generator)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(generator.close).result()
    with backbone.lora_rows("b"):
        assert [block.active.names for block in active.innermost_blocks()] == [("b",)]
    assert not active.has_blocks()
