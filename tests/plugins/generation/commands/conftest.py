"""A preset of a small GPT-2 with random weights, whose context is long."""

import io
import json
import sys

import pytest

from vertebra.cli import main

LONG = 4096


@pytest.fixture
def model(make):
    return make(max_sequence_length=LONG)


@pytest.fixture
def preset(model, tmp_path):
    model.save_to_preset(tmp_path / "preset", certificate=False)
    return tmp_path / "preset"


@pytest.fixture
def command(capsys):
    """Runs a command; returns what it printed, which is parsed with `--json`, or its error if the status is not 0."""

    def run(*words, status=0):
        capsys.readouterr()
        found = main([str(word) for word in words])
        shown = capsys.readouterr()
        assert found == status, shown.err
        if status:
            return shown.err
        return json.loads(shown.out) if "--json" in words else shown.out

    return run


@pytest.fixture
def typed(monkeypatch):
    """Sets what standard input has."""

    def typed(data):
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(data if isinstance(data, bytes) else data.encode()))
        )

    return typed
