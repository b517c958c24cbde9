"""The suite for policies asks about the handles as they are after rewriting, as a load does."""

import types
from dataclasses import replace

import pytest

from vertebra import PresetHandle, hookimpl
from vertebra.testing import PolicySuite

ACME, OTHER = PresetHandle.parse("hf://acme/bert@main"), PresetHandle.parse("hf://other/bert@main")
MIRROR = PresetHandle.parse("file:///mirror/acme/bert@main")


def mirrored(handle):
    """Rewrites all presets of acme to the mirror."""
    is_mirrored = handle.scheme == "hf" and handle.path.startswith("acme/")
    return replace(handle, scheme="file", path=f"/mirror/{handle.path}") if is_mirrored else None


def only_mirrored(handle):
    """Allows presets of the mirror alone."""
    return None if handle.scheme == "file" else f"{handle.scheme}:// is not the mirror"


@pytest.fixture
def check(reload_plugins, monkeypatch):
    """Returns a function that tests a policy with PO-05."""
    monkeypatch.setenv("VERTEBRA_BLOCK", "*")

    def run(refuse, allowed=(), refused=()):
        policy = types.ModuleType("acme_policy")
        policy.vertebra_rewrite_handle = hookimpl(lambda handle: mirrored(handle), specname="vertebra_rewrite_handle")
        policy.vertebra_refuse_preset = hookimpl(lambda handle: refuse(handle), specname="vertebra_refuse_preset")
        suite = PolicySuite()
        PolicySuite.use_policy.__wrapped__(suite, policy, monkeypatch)
        suite.test_the_listed_handles_are_allowed_or_refused({}, None, allowed, refused)

    return run


def test_a_handle_of_a_mirror_with_a_list_is_allowed(check):
    check(only_mirrored, allowed=[ACME, MIRROR], refused=[OTHER])


def test_a_handle_that_is_rewritten_to_an_allowed_one_is_not_refused(check):
    with pytest.raises(AssertionError, match=r"file:///mirror/acme/bert@main: allowed"):
        check(only_mirrored, refused=[ACME])


def test_a_handle_that_is_refused_after_rewriting_is_not_allowed(check):
    with pytest.raises(AssertionError, match=r"file:///mirror/acme/bert@main: no mirrors"):
        check(lambda handle: "no mirrors" if handle.scheme == "file" else None, allowed=[ACME])


def test_a_policy_that_refuses_is_asked_about_a_handle_to_refuse():
    hooks = {"vertebra_refuse_preset": lambda handle: None}
    with pytest.raises(AssertionError, match="a policy that refuses nothing would pass"):
        PolicySuite().test_the_listed_handles_are_allowed_or_refused(hooks, None, [ACME], [])
