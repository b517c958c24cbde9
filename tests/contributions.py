"""What the plugin of an architecture contributes, as a suite: it imports no framework.

Subclass `ContributionSuite` with a name that pytest collects.
"""

import re
from types import ModuleType
from typing import Any, ClassVar

from vertebra import Translation
from vertebra.specs import resolve_reference


class ContributionSuite:
    """Tests of the specs and presets of a plugin."""

    plugin: ClassVar[ModuleType]
    formats: ClassVar[dict[str, dict[str, tuple[str, ...]]]]
    """The identifiers in each format, by class."""
    rows: ClassVar[dict[str, Any]]
    """What the number of parameters of each preset depends on, besides its layers and width, by name."""

    def parameters(self, rows: Any, layers: int, width: int) -> int:
        """Returns the number of parameters of a preset."""
        raise NotImplementedError

    def test_each_class_has_its_formats(self):
        specs = self.plugin.vertebra_backbones()
        found = {spec.name: {name: format.identifiers for name, format in spec.formats.items()} for spec in specs}
        assert found == self.formats
        translations = [format.translation for spec in specs for format in spec.formats.values()]
        assert all(issubclass(resolve_reference(name), Translation) for name in translations)
        package = self.plugin.__name__.partition(".")[0]
        assert all(spec.backbone == f"{package}.backbone:{spec.name}" for spec in specs)

    def test_parameters_are_those_of_layers_width_and_tables(self):
        presets = [preset for spec in self.plugin.vertebra_backbones() for preset in spec.presets]
        assert {preset.name: preset.parameters for preset in presets} == {
            preset.name: self.parameters(self.rows[preset.name], *_layers_and_width(preset)) for preset in presets
        }
        assert presets


def _layers_and_width(preset):
    return map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
