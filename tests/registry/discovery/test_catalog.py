"""What plugins contributed, by name: a name that two claim belongs to neither until one is chosen."""

import pytest

from vertebra import BackboneSpec, FormatSpec, PresetHandle, PresetSpec
from vertebra._configuration.settings import settings
from vertebra._discovery.catalog import (
    BACKBONES,
    FORMATS,
    KINDS,
    SOURCES,
    STRATEGIES,
    Catalog,
    Entry,
    catalog,
    clashes,
    clear_catalog,
    lora_variant,
    peft_methods,
    presets,
    presets_of,
)
from vertebra._discovery.plugin import Owner
from vertebra._discovery.plugins import registry
from vertebra._lazy_class import LazyBackbone
from vertebra._presets.load import prepare
from vertebra._resolve.candidates import candidate_handles
from vertebra._resolve.open import open_folder
from vertebra.cli import main
from vertebra.errors import NameClashError, PluginWarning, UnknownNameError, VertebraError

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.errors.PluginWarning")

BACKBONE = """
from vertebra import BackboneSpec, PresetSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("Shared", "nowhere:Shared", presets=({presets}))]
"""
PRESET = 'PresetSpec("{name}", "file:///nowhere/{name}", 1),'


@pytest.fixture(autouse=True)
def only_toys(reload_plugins, monkeypatch):
    """Leaves the plugins out that happen to be installed."""
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")


@pytest.fixture
def clash(install):
    """Two plugins that claim one backbone name, each with a preset of its own and one that both claim."""
    for name in ("one", "two"):
        own = PRESET.format(name=f"preset_{name}") + PRESET.format(name="preset_shared")
        install(f"acme-{name}", BACKBONE.format(presets=own), entry_points=[f"{name} = acme_{name}"])


def status(distribution):
    return {plugin.owner.distribution: plugin.status for plugin in registry().plugins}[distribution]


WRONG = {
    "no list": "return None",
    "a text": "return 'x'",
    "a generator": "yield BackboneSpec('X', 'x:X')",
    "other things": "return [1]",
    "the class": "return [BackboneSpec]",
    "a name that is no text": "return [BackboneSpec(None, 'x:X')]",
    "no class": "return [BackboneSpec('X', None)]",
    "presets that are none": "return [BackboneSpec('X', 'x:X', presets=('bert',))]",
    "presets that can be read once": "return [BackboneSpec('X', 'x:X', presets=iter(()))]",
    "a preset without a name": "return [BackboneSpec('X', 'x:X', presets=(PresetSpec(None, 'file:///x', 1),))]",
    "formats that are none": "return [BackboneSpec('X', 'x:X', formats={'transformers': 'bert'})]",
    "a format for any part of a text": "return [BackboneSpec('X', 'x:X', formats={'f': FormatSpec('bert', 'x:X')})]",
    "an error": "raise OSError('no network')",
    "an exit": "raise SystemExit",
    "an error of the core": "return [PresetHandle.parse('x')]",
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_hook_that_fails_takes_its_plugin_alone_out_of_use(body, install):
    head = "from vertebra import BackboneSpec, FormatSpec, PresetHandle, PresetSpec, hookimpl\n"
    good = "\n@hookimpl\ndef vertebra_lora_strategies():\n    return []\n"
    install("acme-wrong", f"{head}\n@hookimpl\ndef vertebra_backbones():\n    {body}\n{good}")
    install("acme-sound", BACKBONE.format(presets=PRESET.format(name="sound")))
    assert [entry.name for entry in catalog(BACKBONES)] == ["Shared"]
    assert [entry.name for entry in presets()] == ["sound"]
    assert (status("acme-wrong"), status("acme-sound")) == ("failed", "loaded")
    assert "lora" in catalog(STRATEGIES)


@pytest.mark.parametrize("scheme", ["", "    scheme = 1", "    scheme = None", "    scheme = []"])
def test_an_instance_needs_a_name_too(scheme, install):
    source = f"""
from vertebra import LocalSource, hookimpl

class Source(LocalSource):
    files = fetch = None
{scheme}

@hookimpl
def vertebra_preset_sources():
    return [Source()]
"""
    install("acme-nameless", source)
    assert [entry.name for entry in catalog(SOURCES)] == ["file", "package"]
    assert status("acme-nameless") == "failed"


def test_every_contribution_knows_its_owner(install):
    install("acme-one", BACKBONE.format(presets=PRESET.format(name="preset")), version="3.1")
    owner = Owner("acme-one", "3.1", "acme_one")
    assert catalog(BACKBONES).lookup("Shared").owner == owner
    assert presets().lookup("preset").owner == owner


@pytest.mark.parametrize(("kind", "name"), [(SOURCES, "file"), (SOURCES, "package"), (STRATEGIES, "lora")])
def test_the_built_in_contributions_come_through_the_same_hooks(kind, name, install):
    install("acme-one", BACKBONE.format(presets=""))
    assert catalog(kind).lookup(name).owner.module == "vertebra.builtin.plugin"


# === Clashes ===


def test_a_name_that_two_claim_belongs_to_neither(clash):
    backbones = catalog(BACKBONES)
    assert "Shared" in backbones
    assert list(backbones) == []
    assert [owner.distribution for owner in backbones.clashes()["Shared"]] == ["acme-one", "acme-two"]
    with pytest.raises(NameClashError) as caught:
        backbones.lookup("Shared")
    assert (caught.value.kind, caught.value.name) == ("backbone", "Shared")
    assert [owner.distribution for owner in caught.value.owners] == ["acme-one", "acme-two"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VERTEBRA_BLOCK", "acme-one"),
        ("VERTEBRA_PREFER", "acme-two"),
        ("VERTEBRA_PREFER", "Acme_Two"),
        ("VERTEBRA_PREFER", "acme_two"),
        ("VERTEBRA_PREFER", "two"),
        ("VERTEBRA_PREFER", "tw[o]"),
        ("VERTEBRA_PREFER", "neither*,acme-two,acme-one"),
    ],
)
def test_one_is_chosen_by_blocking_or_preferring(variable, value, clash, monkeypatch):
    monkeypatch.setenv(variable, value)
    assert catalog(BACKBONES).lookup("Shared").owner.distribution == "acme-two"
    assert presets().lookup("preset_shared").owner.distribution == "acme-two"
    assert not catalog(BACKBONES).clashes()
    assert "preset_one" not in presets()


def test_a_preference_that_does_not_decide_leaves_the_clash(clash, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PREFER", "acme-*")
    assert catalog(BACKBONES).clashes()


def test_a_preset_that_two_claim_belongs_to_neither(clash):
    with pytest.raises(NameClashError) as caught:
        open_folder("preset_shared")
    assert (caught.value.kind, len(caught.value.owners)) == ("preset", 2)


def test_a_preset_of_a_clashing_backbone_is_still_known(clash):
    assert presets().lookup("preset_one").value.handle == "file:///nowhere/preset_one"


NAMELESS = {
    "vertebra_preset_sources": ("LocalSource", "preset source of the class X", "scheme"),
    "vertebra_lora_strategies": ("LoraStrategy", "LoRA strategy of the class X", "name"),
    "vertebra_formats": ("PresetFormat", "preset format of the class X", "name"),
}


@pytest.mark.parametrize("hook", NAMELESS)
def test_a_contribution_without_a_name_is_told_which_attribute_it_lacks(hook, install):
    base, told, attribute = NAMELESS[hook]
    body = f"class X({base}):\n    files = fetch = build = None\n\n@hookimpl\ndef {hook}():\n    return [X()]\n"
    install("acme-nameless", f"from vertebra import {base}, hookimpl\n\n{body}")
    catalog(SOURCES)
    (reason,) = [plugin.reason for plugin in registry().plugins if plugin.name == "acme-nameless"]
    assert (
        reason == f"returned a {told}, which has no attribute '{attribute}'. Give the class the attribute {attribute}."
    )


@pytest.mark.parametrize("value", ["{'A': 'b'}", "['A']"])
def test_a_hook_that_returns_something_else_is_named(value, install):
    install("acme-wrong", f"from vertebra import hookimpl\n\n@hookimpl\ndef vertebra_presets():\n    return {value}\n")
    catalog(SOURCES)
    (reason,) = [plugin.reason for plugin in registry().plugins if plugin.name == "acme-wrong"]
    assert reason.startswith("vertebra_presets() returned ")
    assert reason.endswith(" PresetSpec. Correct the hook, or update the plugin.")


def test_an_error_in_a_hook_names_the_line_of_the_plugin(install):
    install(
        "acme-fails",
        "import json\nfrom vertebra import hookimpl\n\n@hookimpl\ndef vertebra_presets():\n    json.loads('x')\n",
    )
    catalog(SOURCES)
    (reason,) = [plugin.reason for plugin in registry().plugins if plugin.name == "acme-fails"]
    assert reason.startswith("line 6 of acme_fails failed (JSONDecodeError: ")
    assert reason.endswith(". Update the plugin: pip install --upgrade acme-fails.")


CLAIMS_OF_THE_CORE = {
    (SOURCES, "file"): ("vertebra_preset_sources", "vertebra.builtin.local.FolderSource()"),
    (STRATEGIES, "lora"): ("vertebra_lora_strategies", "vertebra.builtin.lora.Lora()"),
    (FORMATS, "transformers"): (
        "vertebra_formats",
        "type('F', (PresetFormat,), dict(name='transformers', identifier_field='x'))()",
    ),
}


@pytest.mark.parametrize("claim", CLAIMS_OF_THE_CORE, ids=lambda claim: claim[1])
@pytest.mark.parametrize("prefer", [False, True])
def test_a_name_of_the_core_stays_with_the_core(claim, prefer, install, monkeypatch, capsys):
    (kind, name), (hook, value) = claim, CLAIMS_OF_THE_CORE[claim]
    source = (
        "import vertebra.builtin.local\nimport vertebra.builtin.lora\nfrom vertebra import PresetFormat, hookimpl\n"
    )
    install("acme-claims", f"{source}\n@hookimpl\ndef {hook}():\n    return [{value}]\n")
    if prefer:
        monkeypatch.setenv("VERTEBRA_PREFER", "acme-claims")
    if kind is not FORMATS:
        assert catalog(kind).lookup(name).owner.distribution == "vertebra"
    assert not [entry for entry in catalog(kind) if entry.owner.distribution == "acme-claims"]
    assert not list(clashes())
    plugin = next(plugin for plugin in registry().plugins if plugin.name == "acme-claims")
    assert (plugin.status, plugin.problems) == (
        "loaded",
        [f"its {kind.title} {name!r} is not used: that is a name of the core"],
    )
    main(["plugins"])
    shown = capsys.readouterr()
    assert "that is a name of the core" in shown.out
    assert "plugin acme-claims of acme-claims: its" in shown.err


def test_a_path_is_read_by_the_core_whatever_a_source_claims(install, tmp_path):
    source = """
from vertebra import LocalSource, PresetHandle, hookimpl

class Greedy(LocalSource):
    scheme = "a-greedy"
    files = fetch = lambda self, *_: []

    def handle_for(self, text):
        return PresetHandle("a-greedy", "x")

@hookimpl
def vertebra_preset_sources():
    return [Greedy()]
"""
    install("acme-greedy", source)
    assert [handle.scheme for handle in candidate_handles(str(tmp_path))] == ["file"]
    assert [handle.scheme for handle in candidate_handles("a_name_of_its_own")] == ["a-greedy"]


def test_the_class_backbone_is_the_core_s(install):
    install("acme-one", BACKBONE.format(presets="").replace('"Shared"', '"Backbone"'))
    assert "Backbone" not in catalog(BACKBONES)
    assert "that is a name of the core" in registry().plugins[1].problems[0]


# === Methods of PEFT ===

STRATEGY = """
from vertebra import PeftMethod, hookimpl
from vertebra.builtin.lora import Lora

class Method(Lora):
    name = "{name}"
    {declares}

@hookimpl
def vertebra_lora_strategies():
    return [Method()]
"""
METHODS = {
    "LOHA": 'peft_fields, peft_method = None, PeftMethod("LOHA", "hada_", ("linear",))',
    "use_dora": 'peft_fields = {"use_dora": True}',
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_of_peft_that_two_compute_is_a_clash(method, install, monkeypatch):
    for name in ("one", "two"):
        install(f"acme-{name}", STRATEGY.format(name=name, declares=METHODS[method]))
    with pytest.raises(NameClashError, match=f"method of PEFT name '{method}' is claimed by acme-one .* and acme-two"):
        peft_methods().lookup(method)
    assert ("method of PEFT", method) in [clash[:2] for clash in clashes()]
    monkeypatch.setenv("VERTEBRA_PREFER", "acme-two")
    settings.cache_clear()
    clear_catalog()
    assert peft_methods().lookup(method).value.name == "two"


def test_plain_lora_of_peft_is_the_core_s(install):
    install("acme-one", STRATEGY.format(name="a_lora", declares=""))
    assert peft_methods().lookup(lora_variant({})).value.name == "lora"


# === Presets for architectures of other plugins ===

PACK = """
from vertebra import PresetSpec, hookimpl

@hookimpl
def vertebra_presets():
    return [{presets}]
"""
OF_SHARED = 'PresetSpec("{}", "{}", 5, "small", backbone="{}")'


def test_a_plugin_adds_presets_to_the_architecture_of_another(install, capsys):
    install("acme-one", BACKBONE.format(presets=PRESET.format(name="own")))
    install("acme-pack", PACK.format(presets=OF_SHARED.format("packed", "file:///packs/x", "Shared")))
    entry = presets().lookup("packed")
    assert (entry.owner.distribution, entry.value.backbone, entry.value.handle) == (
        "acme-pack",
        "Shared",
        "file:///packs/x",
    )
    assert presets().lookup("own").value.backbone == "Shared"
    assert [*presets_of("Shared")] == [*presets_of(None)] == ["own", "packed"]
    assert [*LazyBackbone("Shared").presets] == [*LazyBackbone("Backbone").presets] == ["own", "packed"]
    assert candidate_handles("packed") == [PresetHandle.parse("file:///packs/x")]
    main(["presets"])
    assert "packed" in capsys.readouterr().out


def test_an_id_that_an_architecture_and_a_pack_claim_is_a_clash(install, monkeypatch):
    install("acme-one", BACKBONE.format(presets=PRESET.format(name="both")))
    install("acme-pack", PACK.format(presets=OF_SHARED.format("both", "file:///packs/x", "Shared")))
    with pytest.raises(NameClashError, match=r"acme-one 1.0 .* and acme-pack 1.0"):
        candidate_handles("both")
    assert "both" not in presets_of("Shared")
    monkeypatch.setenv("VERTEBRA_PREFER", "acme-pack")
    settings.cache_clear()
    clear_catalog()
    assert presets_of("Shared")["both"].handle == "file:///packs/x"


def test_a_preset_of_an_absent_architecture_is_named_and_not_offered(install, tmp_path):
    install("acme-pack", PACK.format(presets=OF_SHARED.format("packed", f"file://{tmp_path}", "AbsentBackbone")))
    folder = tmp_path / "site" / "acme_pack-1.0.dist-info"
    with (folder / "METADATA").open("a") as file:
        file.write("Requires-Dist: acme-absent>=2\nRequires-Dist: pluggy\n")
    assert "packed" in presets()
    assert presets_of(None) == {}
    with pytest.raises(UnknownNameError, match=r"'AbsentBackbone'.*preset 'packed' of acme-pack.*requires acme-absent"):
        prepare(open_folder("packed"), object, {})


@pytest.mark.parametrize(
    "wrong", ['PresetSpec("x", "file:///x", 1)', '"x"', 'PresetSpec("x", "file:///x", 1, backbone=None)']
)
def test_a_preset_of_the_hook_names_its_architecture(wrong, install):
    install("acme-pack", PACK.format(presets=wrong))
    assert "x" not in presets()
    assert status("acme-pack") == "failed"


def test_a_preset_of_a_spec_is_of_its_architecture():
    preset = PresetSpec("x", "file:///x", 1, backbone="Other")
    with pytest.raises(TypeError, match="x is a preset of another backbone"):
        BackboneSpec("One", "one:One", presets=(preset,))


# === Warnings ===


@pytest.mark.filterwarnings("default::vertebra.errors.PluginWarning")
def test_a_library_user_is_told_once_of_a_plugin_that_failed(install, recwarn):
    install("acme-fails", "raise ImportError('a library is missing')")
    for _ in range(2):
        clear_catalog()
        list(catalog(SOURCES))
    (warning,) = recwarn
    assert warning.category is PluginWarning
    assert str(warning.message) == (
        "plugin acme-fails of acme-fails is not used: line 1 of acme_fails failed (ImportError: a library is missing). "
        "Update the plugin: pip install --upgrade acme-fails."
    )


def test_an_unknown_name_tells_which_plugins_failed(install):
    install("acme-fails", "raise ImportError('a library is missing')")
    install("acme-new", api=["9"])
    with pytest.raises(UnknownNameError) as caught:
        catalog(SOURCES).lookup("acme")
    assert caught.value.failed == [
        "acme-fails (line 1 of acme_fails failed (ImportError: a library is missing). "
        "Update the plugin: pip install --upgrade acme-fails)",
        "acme-new (it supports plugin API 9, but this is API 1. Install another version of acme-new, or of vertebra)",
    ]
    for call in (lambda: open_folder("acme://x"), lambda: open_folder("acme_base")):
        with pytest.raises(
            VertebraError, match=r"acme-fails \(line 1 of acme_fails failed \(ImportError: a library is missing\)"
        ) as caught:
            call()
        assert "vertebra plugins" in str(caught.value)


# === Lookup ===


def entry(name):
    return Entry(name, object(), Owner("acme", "1", "acme"))


def test_lists_in_order_of_name():
    found = Catalog("thing", [entry("b"), entry("a"), entry("c")])
    assert [item.name for item in found] == ["a", "b", "c"]


def test_an_unknown_name_comes_with_similar_ones():
    with pytest.raises(UnknownNameError) as caught:
        Catalog("thing", [entry("gpt_base"), entry("gpt_large"), entry("other")]).lookup("gpt_bas", "Look again")
    assert (caught.value.kind, caught.value.name, caught.value.hint) == ("thing", "gpt_bas", "Look again")
    assert caught.value.known == ["gpt_base", "gpt_large", "other"]
    assert caught.value.suggestions[0] == "gpt_base"


@pytest.mark.parametrize("kind", [*(kind.title for kind in KINDS), "preset"])
def test_the_hint_for_an_unknown_name_is_a_command(kind):
    from vertebra._discovery.core_commands import MODULES

    with pytest.raises(UnknownNameError) as caught:
        Catalog(kind, []).lookup("nothing")
    assert caught.value.hint.split()[-1] in MODULES


def test_specs_refuse_what_would_fail_later():
    with pytest.raises(TypeError):
        BackboneSpec("X", "x:X", presets=[PresetSpec("x", "file:///x", 1)])
    with pytest.raises(TypeError):
        PresetSpec("x", PresetHandle("file", "/x"), 1)
    with pytest.raises(TypeError):
        FormatSpec(("a", 1), "x:X")


def test_an_unknown_name_tells_which_plugins_the_settings_leave_out(install):
    install("acme-source")
    install("other-source")
    with pytest.raises(UnknownNameError, match=r"exclude: .*not named in VERTEBRA_PLUGINS"):
        catalog(SOURCES).lookup("other")
