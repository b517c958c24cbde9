"""A change of the public API is in the changelog."""

import re
from pathlib import Path

from public_api import RECORD, ROOT, public_api


def newest_section(changelog):
    """Returns the section of the release to come."""
    return re.split(r"(?m)^## ", changelog)[1]


def unmentioned(recorded, current, section):
    """Returns the lines that were added or removed and whose name the section does not have."""

    def name(line):
        return line.partition("(")[0].removesuffix(".__init__").rpartition(".")[2]

    return sorted(line for line in set(recorded) ^ set(current) if not re.search(rf"\b{name(line)}\b", section))


def test_the_changelog_has_each_change_of_the_public_api():
    section = newest_section(Path(ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    found = unmentioned(RECORD.read_text(encoding="utf-8").splitlines(), public_api(), section)
    assert found == [], "Name what is new, changed or gone in CHANGELOG.md; at a release, run make api"


def test_changes_are_seen():
    recorded = ["vertebra.lora.rows(model, names)", "vertebra.use(runtime)", "vertebra.errors.Old.__init__(self)"]
    current = ["vertebra.lora.rows(model, names, scale=1)", "vertebra.use(runtime)", "vertebra.files(preset)"]
    assert unmentioned(recorded, current, "`files` lists files; `rows` takes a scale") == recorded[2:]


def test_the_list_has_functions_methods_and_fields():
    listed = public_api()
    assert "vertebra.lora" in {line.rpartition(".")[0] for line in listed}
    assert any(line.startswith("vertebra.remote.RemoteSource.resolve_snapshot(self, handle") for line in listed)
    assert "vertebra.specs.architectures.BackboneSpec.runtimes" in listed
    assert not [line for line in listed if re.search(r"\._(?!_)", line)]
