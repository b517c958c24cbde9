"""The names of a new plugin: made of one name, and refused if they are invalid or belong to another."""

import pytest

from vertebra.cli.new.kinds import template_of
from vertebra.cli.new.names import Names
from vertebra.errors import HandleError, NewPluginError

POLICY, SOURCE, ARCHITECTURE = map(template_of, ("policy", "source", "architecture"))


@pytest.mark.parametrize(
    ("name", "distribution", "package", "class_name"),
    [
        ("acme-llama", "acme-llama", "acme_llama", "AcmeLlama"),
        ("Acme Llama", "acme-llama", "acme_llama", "AcmeLlama"),
        ("acme_llama", "acme-llama", "acme_llama", "AcmeLlama"),
        ("acme.llama", "acme-llama", "acme_llama", "AcmeLlama"),
        ("AcmeLlama", "acme-llama", "acme_llama", "AcmeLlama"),
        (" acme ", "acme", "acme", "Acme"),
        ("acme\nx", "acme-x", "acme_x", "AcmeX"),
        ("acme-3d", "acme-3d", "acme_3d", "Acme3d"),
        ("ACME", "acme", "acme", "Acme"),
        ("vertebra-acme", "vertebra-acme", "vertebra_acme", "Acme"),
        ("x", "x", "x", "X"),
        ("acme-class", "acme-class", "acme_class", "AcmeClass"),
        ("a" * 40, "a" * 40, "a" * 40, "A" + "a" * 39),
    ],
)
def test_one_name_gives_all(name, distribution, package, class_name):
    names = Names.of(name, POLICY)
    assert (names.distribution, names.package, names.class_name) == (distribution, package, class_name)


def test_a_source_has_its_scheme_of_the_name():
    assert Names.of("vertebra-oci2", SOURCE).registered == "oci2"
    assert Names.of("acme-models", SOURCE).registered == "acme-models"
    assert Names.of("acme-models", SOURCE, {"scheme": "acme+x"}).registered == "acme+x"


def test_a_class_may_have_another_name():
    assert Names.of("acme-llama", ARCHITECTURE, {"class-name": "Acme4"}).registered == "Acme4Backbone"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "no name of a distribution"),
        ("-", "no name of a distribution"),
        ("acme-", "no name of a distribution"),
        ("3d", "no name of a distribution"),
        ("büro", "no name of a distribution"),
        ("acme/../x", "no name of a distribution"),
        ("acme!", "no name of a distribution"),
        ("a" * 41, "41 characters"),
        ("json", "a module of Python"),
        ("import", "a keyword of Python"),
        ("lambda", "a keyword of Python"),
        ("numpy", "one that it needs"),
        ("scipy", "a package scipy is installed"),
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
            "acme",
            {"scheme": "hf"},
            "the preset source 'hf' is of vertebra-hf .* Choose another with --scheme",
        ),
        ("source", "file", {}, "the preset source 'file' is of vertebra"),
        ("architecture", "acme", {"class-name": "Gemma"}, "'GemmaBackbone' .* Choose another with --class-name"),
        ("strategy", "rslora", {}, "the LoRA strategy 'rslora' is of vertebra-lora-variants .* Choose another NAME"),
        ("command", "doctor", {}, "vertebra doctor is a command of the core"),
        ("command", "embed", {}, "the command 'embed' is of vertebra-text"),
        ("policy", "acme", {"scheme": "acme"}, "a plugin of the kind policy has no scheme"),
        ("task", "acme", {"class-name": "acme"}, "no name of a class"),
        ("task", "acme", {"class-name": "Büro"}, "no name of a class"),
        ("task", "acme", {"class-name": "None"}, "no name of a class"),
    ],
)
def test_a_name_of_another_contribution_is_refused(kind, name, chosen, problem):
    with pytest.raises(NewPluginError, match=problem):
        Names.of(name, template_of(kind), chosen)


@pytest.mark.parametrize("scheme", ["A", "a b", "1a", "a://"])
def test_a_scheme_that_no_handle_can_have_is_refused(scheme):
    with pytest.raises(HandleError):
        Names.of("acme", SOURCE, {"scheme": scheme})
