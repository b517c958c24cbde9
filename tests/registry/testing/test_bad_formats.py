"""The suite for formats notices one that drops or changes what it is given."""

import pytest

from vertebra import PresetFormat
from vertebra.testing import FormatSuite

pytestmark = pytest.mark.keras(once=True)


class Sound(PresetFormat):
    name = "acme"

    def identifier(self, config):
        return config.get("acme")

    def fields(self, config):
        return config["network"]

    def config(self, identifier, fields):
        return {"acme": identifier, "network": dict(fields)}


class OnlyPlainValues(Sound):
    def config(self, identifier, fields):
        plain = {name: value for name, value in fields.items() if not isinstance(value, dict | list)}
        return {"acme": identifier, "network": plain}


class WithoutNone(Sound):
    def config(self, identifier, fields):
        return {"acme": identifier, "network": {name: str(value) for name, value in fields.items()}}


class Emptying(Sound):
    def fields(self, config):
        return dict([config["network"].popitem() for _ in range(len(config["network"]))])


@pytest.mark.parametrize("kind", [Sound, OnlyPlainValues, WithoutNone, Emptying])
def test_a_format_that_drops_something_is_noticed(kind):
    suite, format = FormatSuite(), kind()
    document = FormatSuite.document.__wrapped__(suite, format)
    if kind is Sound:
        suite.test_it_reads_what_it_writes(format, document)
        return
    with pytest.raises(AssertionError) as caught:
        suite.test_it_reads_what_it_writes(format, document)
    assert caught.value.__notes__[0].startswith("FM-02: ")
