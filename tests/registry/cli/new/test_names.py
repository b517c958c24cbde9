"""The names of a new plugin: made of one name, and refused if they are invalid or belong to another."""

from dataclasses import replace

import pytest

from vertebra.cli.new.kinds import template_of
from vertebra.cli.new.names import Names
from vertebra.errors import HandleError, NewPluginError

POLICY, SOURCE, ARCHITECTURE = map(template_of, ("policy", "source", "architecture"))


@pytest.mark.parametrize(
    ("name", "distribution", "package", "class_name"),
    [
        ("zoo-llama", "zoo-llama", "zoo_llama", "ZooLlama"),
        ("Zoo Llama", "zoo-llama", "zoo_llama", "ZooLlama"),
        ("zoo_llama", "zoo-llama", "zoo_llama", "ZooLlama"),
        ("zoo.llama", "zoo-llama", "zoo_llama", "ZooLlama"),
        ("ZooLlama", "zoo-llama", "zoo_llama", "ZooLlama"),
        (" zoo ", "zoo", "zoo", "Zoo"),
        ("zoo\nx", "zoo-x", "zoo_x", "ZooX"),
        ("zoo-3d", "zoo-3d", "zoo_3d", "Zoo3d"),
        ("ZOO", "zoo", "zoo", "Zoo"),
        ("vertebra-zoo", "vertebra-zoo", "vertebra_zoo", "Zoo"),
        ("x", "x", "x", "X"),
        ("zoo-class", "zoo-class", "zoo_class", "ZooClass"),
        ("a" * 40, "a" * 40, "a" * 40, "A" + "a" * 39),
    ],
)
def test_one_name_gives_all(name, distribution, package, class_name):
    names = Names.of(name, POLICY)
    assert (names.distribution, names.package, names.class_name) == (distribution, package, class_name)


def test_a_source_has_its_scheme_of_the_name():
    assert Names.of("vertebra-oci2", SOURCE).registered == "oci2"
    assert Names.of("zoo-models", SOURCE).registered == "zoo-models"
    assert Names.of("zoo-models", SOURCE, {"scheme": "zoo+x"}).registered == "zoo+x"


def test_a_class_may_have_another_name():
    assert Names.of("zoo-llama", ARCHITECTURE, {"class-name": "Zoo4"}).registered == "Zoo4Backbone"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "no name of a distribution"),
        ("-", "no name of a distribution"),
        ("zoo-", "no name of a distribution"),
        ("3d", "no name of a distribution"),
        ("büro", "no name of a distribution"),
        ("zoo/../x", "no name of a distribution"),
        ("zoo!", "no name of a distribution"),
        ("a" * 41, "41 characters"),
        ("json", "a module of Python"),
        ("import", "a keyword of Python"),
        ("lambda", "a keyword of Python"),
        ("numpy", "one that it needs"),
        ("yaml", "a package yaml is installed"),
        ("scipy", "the distribution scipy .* is installed here, which yours would replace"),
        ("pyyaml", "the distribution pyyaml .* is installed"),
        ("list", "a function or class of Python"),
        ("tests", "names something else in every project"),
        ("build", "names something else in every project"),
        ("aux", "reserved for a device on some systems"),
        ("COM1", "reserved for a device on some systems"),
        ("vertebra-3d", "after vertebra- comes a digit"),
        ("vertebra", "a distribution of Vertebra"),
        ("vertebra-bert", "a distribution of Vertebra"),
        ("bert", "the installed plugin 'bert' of vertebra-bert"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name, problem):
    with pytest.raises(NewPluginError, match=problem) as refused:
        Names.of(name, POLICY)
    assert "Choose another NAME" in str(refused.value) or "Use at most" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "name", "chosen", "problem"),
    [
        (
            "source",
            "zoo",
            {"scheme": "hf"},
            "the preset source 'hf' is of vertebra-hf .* Choose another with --scheme",
        ),
        ("source", "file", {}, "the preset source 'file' is of vertebra"),
        ("architecture", "zoo", {"class-name": "Gemma"}, "'GemmaBackbone' .* Choose another with --class-name"),
        ("strategy", "rslora", {}, "the LoRA strategy 'rslora' is of vertebra-lora-variants .* Choose another NAME"),
        ("command", "doctor", {}, "vertebra doctor is a command of the core"),
        ("command", "embed", {}, "the command 'embed' is of vertebra-text"),
        ("policy", "zoo", {"scheme": "zoo"}, "a plugin of the kind policy has no scheme"),
        ("task", "zoo", {"class-name": "zoo"}, "no name of a class"),
        ("task", "zoo", {"class-name": "Büro"}, "no name of a class"),
        ("task", "zoo", {"class-name": ""}, "no name of a class"),
        ("task", "zoo", {"class-name": "None"}, "no name of a class"),
        (
            "strategy",
            "mapping",
            {},
            "the code of the kind strategy uses the name Mapping .* Choose another with --class-name",
        ),
        ("task", "task", {}, "uses the name Task"),
        ("architecture", "backbone", {}, "uses the name Backbone"),
        ("source", "remote", {}, "uses the name RemoteSource"),
        ("strategy", "zoo", {"class-name": "Exception"}, "uses the name Exception"),
    ],
)
def test_a_name_of_another_contribution_is_refused(kind, name, chosen, problem):
    with pytest.raises(NewPluginError, match=problem):
        Names.of(name, template_of(kind), chosen)


def test_a_name_that_no_option_changes_is_free_again_without_the_other_plugin():
    kind = replace(template_of("runtime"), registers="torch")
    with pytest.raises(NewPluginError, match=r"the runtime 'torch' is of vertebra-torch.* Uninstall that plugin, or"):
        Names.of("zoo", kind)


def test_the_kind_is_not_repeated_in_names_of_classes():
    assert Names.of("zoo-tokenizer", template_of("tokenizer")).registered == "ZooTokenizer"
    assert Names.of("zoo", ARCHITECTURE, {"class-name": "ZooBackbone"}).registered == "ZooBackbone"
    assert Names.of("Zoo Source", SOURCE).replaced("ExamplePluginSource") == "ZooSource"


def test_a_name_may_have_words_of_the_template():
    names = Names.of("example-license-example-name", SOURCE)
    assert names.replaced("example-plugin example_plugin example-name EXAMPLE_PLUGIN_URL ExamplePluginSource") == (
        "example-license-example-name example_license_example_name example-license-example-name "
        "EXAMPLE_LICENSE_EXAMPLE_NAME_URL ExampleLicenseExampleNameSource"
    )
    assert names.replaced("example-plugin EXAMPLE_LICENSE", {"EXAMPLE_LICENSE": "example-plugin"}) == (
        "example-license-example-name example-plugin"
    )


def test_a_class_may_have_a_name_that_other_kinds_use():
    assert Names.of("task", template_of("preset-pack")).class_name == "Task"
    assert Names.of("classvar", ARCHITECTURE, {"class-name": "LoraStrategy"}).registered == "LoraStrategyBackbone"


def test_an_empty_folder_of_the_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "zoo").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert Names.of("zoo", POLICY).package == "zoo"
    (tmp_path / "zoo" / "__init__.py").write_text("")
    with pytest.raises(NewPluginError, match="a package zoo is installed"):
        Names.of("zoo", POLICY)


@pytest.mark.parametrize("scheme", ["", "A", "a b", "1a", "a://"])
def test_a_scheme_that_no_handle_can_have_is_refused(scheme):
    with pytest.raises(HandleError):
        Names.of("zoo", SOURCE, {"scheme": scheme})
