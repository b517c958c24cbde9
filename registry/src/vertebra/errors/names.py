"""Errors of handles, names, plugins and settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vertebra.errors.base import VertebraError, close_names, did_you_mean, ended, shorten

_COMMANDS = {
    "backbone": "backbones",
    "preset": "presets",
    "preset format": "formats",
    "preset source": "sources",
    "LoRA strategy": "strategies",
    "runtime": "runtimes",
    "task": "tasks",
    "tokenizer": "tokenizers",
}
"""The command that lists each kind of name."""


class HandleError(VertebraError, ValueError):
    """A preset handle cannot be parsed, or cannot be used for this operation."""

    def __init__(self, text: str, problem: str, remedy: str = "") -> None:
        self.text, self.problem = text, problem
        super().__init__(
            f"Handle {text!r}: {ended(problem)} {ended(remedy)}"
            if remedy
            else f"{text!r} is not a preset handle: {ended(problem)} Write scheme://path or scheme://path@revision, "
            "a path such as ./my_preset, or a preset id (list them with: vertebra presets)."
        )


class UnknownNameError(VertebraError, LookupError, ValueError):
    """No installed plugin provides a name."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        hint: str = "",
        excluded: Sequence[str] = (),
        install: str | None = None,
        failed: Sequence[str] = (),
    ) -> None:
        self.kind, self.name, self.known, self.install = kind, name, sorted(known), install
        self.failed = list(failed)
        """The installed plugins that failed, each with the reason: one of them may have the name."""
        self.suggestions = [] if install else close_names(name, self.known)
        """Names that resemble it; none if the command `install` is known to install the name itself."""
        self.hint = hint or f"List the installed ones with: vertebra {_COMMANDS.get(kind, 'plugins')}"
        blocked = f" Plugins that your settings exclude: {shorten(excluded, 5)}." if excluded else ""
        likely = f" Install it with: {install}." if install else did_you_mean(self.suggestions)
        super().__init__(f"No {kind} is named {name!r}.{likely}{blocked}{failed_plugins(failed)} {ended(self.hint)}")


def failed_plugins(failed: Sequence[str]) -> str:
    """Returns the sentence on installed plugins that failed, or nothing."""
    return f" Installed plugins that failed: {'; '.join(failed[:5])}. See: vertebra plugins." if failed else ""


class NameClashError(VertebraError, LookupError):
    """Several plugins claim the same name, so none of them gets it."""

    def __init__(self, kind: str, name: str, owners: Sequence[object]) -> None:
        self.kind, self.name, self.owners = kind, name, list(owners)
        claims = " and ".join(str(owner) for owner in owners)
        super().__init__(
            f"The {kind} name {name!r} is claimed by {claims}, so none of them is used. "
            "Choose one with VERTEBRA_PREFER=<distribution>, or exclude one with VERTEBRA_BLOCK=<distribution>."
        )


# === Plugins ===


class PluginWarning(UserWarning):
    """An installed plugin failed, and is not used, or breaks a rule."""


class PluginError(VertebraError):
    """A plugin, or one of its contributions, cannot be used."""

    def __init__(self, plugin: str, problem: str, remedy: str = "") -> None:
        self.plugin, self.problem, self.remedy = plugin, problem, remedy
        remedy = remedy or f"Update or uninstall the plugin, or exclude it with VERTEBRA_BLOCK={plugin}"
        super().__init__(f"Plugin {plugin}: {ended(problem)} {ended(remedy)}")


class MissingPluginError(VertebraError):
    """A setting names a plugin or distribution that is not installed."""

    def __init__(self, wanted: str, setting: str, known: Iterable[str], remedy: str = "") -> None:
        self.wanted, self.setting, self.known = wanted, setting, sorted(known)
        self.suggestions = close_names(wanted, self.known)
        hint = did_you_mean(self.suggestions) or f" Installed plugins: {', '.join(self.known) or 'none'}."
        remedy = remedy or "Install the plugin, or correct the setting"
        super().__init__(f"{setting} names plugin {wanted!r}, which is not installed.{hint} {ended(remedy)}")


class SettingsError(VertebraError, ValueError):
    """A configuration file or an environment variable is invalid."""

    def __init__(self, origin: str, problem: str, remedy: str = "") -> None:
        self.origin, self.problem = origin, problem
        super().__init__(
            f"Settings in {origin}: {ended(problem)} "
            f"{ended(remedy or 'Correct the setting, or remove it to use the default')}"
        )


class FailedPluginError(VertebraError):
    """A setting requires a plugin that cannot be used. Going on without it could skip a policy."""

    def __init__(self, plugin: str, setting: str, reason: str) -> None:
        self.plugin, self.setting, self.reason = plugin, setting, reason
        super().__init__(
            f"{setting} requires plugin {plugin!r}, which cannot be used: {ended(reason)} "
            f"Correct the problem, or remove the plugin from {setting}."
        )


class NewPluginError(VertebraError, ValueError):
    """The project of a new plugin cannot be written; nothing was written."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"Cannot write the plugin {name!r}: {ended(problem)} {ended(remedy)}")
