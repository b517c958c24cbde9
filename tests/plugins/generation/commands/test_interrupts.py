"""Ctrl-C while an answer streams: the command ends with status 130, and the model answers as before."""

import _thread
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading

import pytest

from vertebra_generation.commands.chat import Conversation

pytestmark = pytest.mark.keras

PROMPT = "the quick brown"
SAMPLED = {"do_sample": True, "temperature": 2.0, "top_k": 0, "seed": 5}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for child processes")
def test_a_stream_of_a_command_ends_with_status_130(preset, runtime):
    words = [
        "generate",
        str(preset),
        PROMPT,
        "--stream",
        "--max-new-tokens",
        "4000",
        "--runtime",
        runtime,
        "--seed",
        "5",
    ]
    command = [sys.executable, "-m", "vertebra.cli", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env=os.environ | {"PYTHONIOENCODING": "utf-8"}) as process:
        began = process.stdout.read(5)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len(began) == 5
    assert rest.endswith(b"\n")
    assert errors.decode() == "interrupted\n"


# JAX leaves a file of its compilation cache open if it is interrupted while it reads one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_answers_as_before_after_an_interrupt_at_any_moment(model):
    model.enable_lora(2)
    expected = model.generate(PROMPT, max_new_tokens=20)
    chosen = {"adapters": [next(iter(model.lora_adapters))]}
    for options in ({}, chosen):  # compiled before the interrupts
        stream = model.generate_stream([PROMPT], max_new_tokens=4000, **SAMPLED, **options)
        list(itertools.islice(stream, 5))
        stream.close()
    for milliseconds in (0, 3, 10, 30, 100):
        timer = threading.Timer(milliseconds / 1000, _thread.interrupt_main)
        stream = model.generate_stream([PROMPT], max_new_tokens=4000, **SAMPLED, **(chosen if milliseconds % 2 else {}))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            timer.start()
            for _ in stream:
                pass
            timer.join()
        stream.close()
        assert model.generate(PROMPT, max_new_tokens=20) == expected
    gc.collect()


def test_a_consumer_of_a_stream_may_be_interrupted(model):
    expected = model.generate(PROMPT, max_new_tokens=20)
    stream = model.generate_stream(PROMPT, max_new_tokens=4000, **SAMPLED)
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt)
    assert model.generate(PROMPT, max_new_tokens=20) == expected


def test_a_conversation_keeps_an_answer_as_far_as_it_came(model):
    model.chat_templates = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
    conversation = Conversation(model, None, {"max_new_tokens": 50, **SAMPLED})
    parts = []

    def show(text):
        parts.append(text)
        if len("".join(parts)) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.ask("fox", show)
    assert [message["role"] for message in conversation.messages] == ["user", "assistant"]
    assert conversation.messages[1]["content"] == "".join(parts)

    before = list(conversation.messages)
    with pytest.raises(KeyboardInterrupt):
        conversation.ask("dog", lambda _: _thread.interrupt_main())
    assert conversation.messages[: len(before)] == before
    assert conversation.ask("dog", lambda _: None) == "length"
