"""The suite for policies: subclass `PolicySuite`, and define the fixture `policy`.

class TestMyPolicy(PolicySuite):
    @pytest.fixture
    def policy(self):
        return my_policy

    @pytest.fixture
    def refused(self):
        return [PresetHandle.parse("hf://unknown/bert")]
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from vertebra import hookspecs
from vertebra._configuration.settings import Settings
from vertebra._discovery import plugins
from vertebra._discovery.catalog import SOURCES, catalog
from vertebra._discovery.plugins import PluginRegistry
from vertebra._resolve import candidates
from vertebra.errors import PresetRefusedError
from vertebra.handles import PresetHandle
from vertebra.specs import LoadedPreset
from vertebra.testing.network import network
from vertebra.testing.plugins import PluginSuite
from vertebra.testing.rules import rule

REWRITE, REFUSE, LOADED = hookspecs.POLICY_HOOKS
_PATHS = ("acme/bert", "a", "acme/models/bert-base.v2", "acme/bert?x=1", "Acme/Büro")
_REVISIONS = (None, "main", "v1.0", "0123456789abcdef0123456789abcdef01234567")


class PolicySuite(PluginSuite):
    """Tests of a policy: of those of the three policy hooks that the plugin has.

    Give the subclass a name that pytest collects, and define the fixture `policy`.
    """

    # === Fixtures of a subclass ===

    @pytest.fixture
    def policy(self) -> ModuleType:
        """The entry module of the plugin."""
        raise NotImplementedError

    @pytest.fixture
    def allowed(self) -> Sequence[PresetHandle]:
        """Handles that users may load: of the candidates that the policy makes of each, it allows one."""
        return ()

    @pytest.fixture
    def refused(self) -> Sequence[PresetHandle]:
        """Handles that users must not load: the policy refuses every candidate that it makes of them."""
        return ()

    @pytest.fixture
    def rewritten(self) -> Mapping[PresetHandle, Sequence[PresetHandle]]:
        """Handles, with the candidates that the policy makes of each."""
        return {}

    # === Fixtures of the suite ===

    @pytest.fixture
    def entry_module(self, policy: ModuleType) -> str:
        """Name of the policy's module, if it is installed."""
        if policy.__name__ not in {plugin.owner.module for plugin in plugins.registry().plugins}:
            pytest.skip("the policy is not installed")
        return policy.__name__

    @pytest.fixture
    def hooks(self, policy: ModuleType) -> Mapping[str, Callable[..., Any]]:
        """The policy hooks of the plugin, by name."""
        plugin = PluginRegistry(Settings(block=("*",))).add(policy, "policy-under-test")
        if plugin.status != "loaded":
            pytest.fail(f"the policy would not be used: {plugin.reason}")
        found = {name: hook for name, hook in plugin.implementations.items() if name in hookspecs.POLICY_HOOKS}
        assert found, f"the plugin has none of the hooks {', '.join(hookspecs.POLICY_HOOKS)}"
        return found

    @pytest.fixture
    def handles(
        self,
        allowed: Sequence[PresetHandle],
        refused: Sequence[PresetHandle],
        rewritten: Mapping[PresetHandle, Sequence[PresetHandle]],
    ) -> Sequence[PresetHandle]:
        """Handles to ask about: those of the other fixtures, and some of every installed source."""
        schemes = [entry.name for entry in catalog(SOURCES)]
        made = [
            PresetHandle(scheme, path, revision) for scheme in schemes for path in _PATHS for revision in _REVISIONS
        ]
        return [*allowed, *refused, *rewritten, *made]

    @pytest.fixture
    def use_policy(self, policy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes the policy the only plugin that is asked about presets."""
        registry = PluginRegistry(Settings(block=("*",)))
        registry.add(policy, "policy-under-test")
        monkeypatch.setattr(f"{candidates.__name__}.registry", lambda: registry)

    # === Rules ===

    @rule("PO-01")
    def test_rewriting_returns_handles(
        self, hooks: Mapping[str, Callable[..., Any]], handles: Sequence[PresetHandle]
    ) -> None:
        """`vertebra_rewrite_handle` returns a handle, a list with at least one, or None, for any handle."""
        for handle in _asked(hooks, REWRITE, handles):
            answer = hooks[REWRITE](handle=handle)
            answers = answer if isinstance(answer, list | tuple) else [answer]
            assert answer is None or (answers and all(isinstance(item, PresetHandle) for item in answers)), handle

    @rule("PO-02")
    def test_rewriting_twice_changes_nothing_more(
        self, hooks: Mapping[str, Callable[..., Any]], handles: Sequence[PresetHandle]
    ) -> None:
        """A handle that the policy chose first stays the first if the policy is asked about it."""
        for handle in _asked(hooks, REWRITE, handles):
            first = _candidates(hooks[REWRITE], handle)[0]
            assert _candidates(hooks[REWRITE], first)[0] == first, handle

    @rule("PO-03")
    def test_rewriting_keeps_the_revision(
        self, hooks: Mapping[str, Callable[..., Any]], handles: Sequence[PresetHandle]
    ) -> None:
        """Candidates of two revisions of a preset differ, so that a pinned handle stays pinned."""
        pinned = [handle for handle in _asked(hooks, REWRITE, handles) if handle.revision is not None]
        for handle in pinned:
            other = replace(handle, revision=f"{handle.revision}0")
            assert _candidates(hooks[REWRITE], handle)[0] != _candidates(hooks[REWRITE], other)[0], handle

    @rule("PO-04")
    def test_refusing_gives_a_reason(
        self, hooks: Mapping[str, Callable[..., Any]], handles: Sequence[PresetHandle]
    ) -> None:
        """`vertebra_refuse_preset` returns a reason in one line, or None, for any handle, and the same each time."""
        for handle in _asked(hooks, REFUSE, handles):
            reason = hooks[REFUSE](handle=handle)
            assert reason is None or (isinstance(reason, str) and reason and reason.isprintable()), handle
            assert hooks[REFUSE](handle=copy.copy(handle)) == reason, handle

    @rule("PO-05")
    def test_the_listed_handles_are_allowed_or_refused(
        self, hooks: Mapping[str, Callable[..., Any]], use_policy: None, allowed: Any, refused: Any
    ) -> None:
        """After rewriting, the core may read the handles that are to be allowed, and is refused all of the others."""
        if not allowed and not refused:
            pytest.skip("the fixtures `allowed` and `refused` are not defined")
        assert refused or REFUSE not in hooks, "`refused` names no handle: a policy that refuses nothing would pass"
        for handle in allowed:
            tried = _tried(handle)
            assert any(reason is None for reason in tried.values()), _named(tried)
        for handle in refused:
            tried = _tried(handle)
            assert all(reason is not None for reason in tried.values()), _named(tried)

    @rule("PO-06")
    def test_the_listed_handles_are_rewritten(
        self, hooks: Mapping[str, Callable[..., Any]], rewritten: Mapping[PresetHandle, Sequence[PresetHandle]]
    ) -> None:
        """Handles are rewritten to the candidates that are to be tried, in their order."""
        if not rewritten:
            pytest.skip("the fixture `rewritten` is not defined")
        for handle, expected in rewritten.items():
            assert _candidates(hooks[REWRITE], handle) == list(expected)

    @rule("PO-07")
    def test_answers_use_no_network(
        self, hooks: Mapping[str, Callable[..., Any]], handles: Sequence[PresetHandle]
    ) -> None:
        """Policies answer without a request: they are asked for every preset, offline, too."""
        with network() as used:
            for name in (REWRITE, REFUSE):
                for handle in _asked(hooks, name, handles, skip=False):
                    hooks[name](handle=handle)
        assert used == []

    @rule("PO-08")
    def test_observing_accepts_every_load(
        self, hooks: Mapping[str, Callable[..., Any]], handles: Sequence[PresetHandle]
    ) -> None:
        """`vertebra_preset_loaded` raises nothing, for presets and adapters."""
        for handle in _asked(hooks, LOADED, handles):
            for format in ("native", "lora:peft"):
                hooks[LOADED](loaded=LoadedPreset(str(handle), handle, format, "TinyBackbone", True))


def _asked(
    hooks: Mapping[str, Callable[..., Any]], name: str, handles: Sequence[PresetHandle], skip: bool = True
) -> Iterable[PresetHandle]:
    """Returns the handles to ask a hook about; skips the test if the plugin has no such hook."""
    if name not in hooks and skip:
        pytest.skip(f"the policy has no hook {name}")
    return handles if name in hooks else ()


def _tried(handle: PresetHandle) -> dict[PresetHandle, str | None]:
    """Returns the candidates of a handle after the policies' rewriting, each with the reason if it is refused."""
    tried: dict[PresetHandle, str | None] = {}
    for candidate in candidates.candidate_handles(str(handle), handle):
        try:
            candidates.ask_policies(candidate)
            tried[candidate] = None
        except PresetRefusedError as error:
            tried[candidate] = error.reason
    return tried


def _named(tried: Mapping[PresetHandle, str | None]) -> str:
    return "; ".join(f"{handle}: {'allowed' if reason is None else reason}" for handle, reason in tried.items())


def _candidates(hook: Callable[..., Any], handle: PresetHandle) -> list[PresetHandle]:
    answer = hook(handle=handle)
    if answer is None:
        return [handle]
    return list(answer) if isinstance(answer, list | tuple) else [answer]
