"""The functions of a plugin that are meant as hooks."""

import types

import pytest

from vertebra import hookimpl, hookspecs
from vertebra._discovery.hook_functions import checked, hook_functions, policies
from vertebra.errors import PluginError


def module_of(**members):
    module = types.ModuleType("acme")
    vars(module).update(members)
    return module


def empty():
    return []


def none():
    return []


def implementations(**members):
    module = module_of(**members)
    return checked("acme", module, hook_functions(module))


def test_marked_functions_and_those_with_the_prefix_are_found_in_order():
    marked, other = hookimpl(empty), hookimpl(specname="vertebra_tasks")(none)
    module = module_of(vertebra_presets=marked, a=other, vertebra_x=len, vertebra_y=3, z=len)
    found = hook_functions(module)
    assert [(each.name, each.hook) for each in found] == [
        ("a", "vertebra_tasks"),
        ("vertebra_presets", "vertebra_presets"),
        ("vertebra_x", "vertebra_x"),
    ]
    assert [each.options is None for each in found] == [False, False, True]


def test_implementations_have_the_names_of_hooks():
    function, other = hookimpl(empty), hookimpl(specname="vertebra_tasks")(none)
    found = implementations(vertebra_presets=function, mine=other)
    assert found == {"vertebra_presets": function, "vertebra_tasks": other}


WRONG = {
    "no marker": (lambda: [None], "lacks the hookimpl marker"),
    "an argument": (hookimpl(lambda what: []), "has the arguments what, which the hook does not have"),
    "a wrapper": (hookimpl(lambda: (yield), wrapper=True), "is marked with wrapper=True, but hooks of other"),
    "an old wrapper": (hookimpl(lambda: (yield), hookwrapper=True), "is marked with hookwrapper=True"),
    "an unknown hook": (
        hookimpl(lambda: [None], specname="vertebra_preset"),
        "no hook 'vertebra_preset'; did you mean",
    ),
}


@pytest.mark.parametrize(("function", "message"), WRONG.values(), ids=WRONG)
def test_wrong_functions_are_refused(function, message):
    with pytest.raises(PluginError, match=message):
        implementations(vertebra_presets=function)


@pytest.mark.parametrize("hook", hookspecs.POLICY_HOOKS)
def test_a_policy_is_found_although_its_function_is_wrong(hook):
    def wrong(what):
        pass

    assert policies(hook_functions(module_of(**{hook: wrong}))) == {hook: wrong}


def test_a_policy_with_a_misspelled_name_refuses():
    found = policies(hook_functions(module_of(vertebra_refuse_presets=hookimpl(lambda handle: None))))
    assert "which would never be called" in found["vertebra_refuse_preset"](handle=None)
