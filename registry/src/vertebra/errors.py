"""Every exception, and the frame of its message: one root, typed, with the parts kept as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_MOST_CHARACTERS = 4_000


class VertebraError(Exception):
    """Root of every error that Vertebra raises on purpose."""

    _keras_call_info_injected = True
    """Tells Keras to raise an error of a layer as it is: it would make a `RuntimeError` of it to add the arguments."""

    def __init__(self, message: str) -> None:
        rest = len(message) - _MOST_CHARACTERS  # a value from a hostile file may be megabytes long
        super().__init__(message if rest <= 0 else f"{message[:_MOST_CHARACTERS]} … ({rest:,} characters more)")

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own way would call the class with the message alone; errors of worker processes are copied so, too.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[VertebraError], arguments: tuple[Any, ...], parts: dict[str, Any]) -> VertebraError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(parts)
    return error


class ArgumentError(VertebraError, TypeError):
    """An argument of a function is not of the type that it takes."""

    def __init__(self, function: str, argument: str, value: object, expected: str) -> None:
        self.function, self.argument, self.value, self.expected = function, argument, value, expected
        super().__init__(f"{function}: {argument}={value!r}, expected {expected}. Correct the argument.")


# === Handles and names ===

_COMMANDS = {
    "backbone": "backbones",
    "preset": "presets",
    "preset source": "sources",
    "LoRA strategy": "strategies",
    "runtime": "runtimes",
}
"""The command that lists each kind of name."""


class HandleError(VertebraError, ValueError):
    """A preset handle that cannot be parsed, or used for what was asked for."""

    def __init__(self, text: str, problem: str, remedy: str = "") -> None:
        self.text, self.problem = text, problem
        super().__init__(
            f"Handle {text!r}: {problem}. {remedy}."
            if remedy
            else f"{text!r} is not a preset handle: {problem}. Write scheme://path or scheme://path@revision, "
            "a path such as ./my_preset, or a preset id (list them with: vertebra presets)."
        )


class UnknownNameError(VertebraError, LookupError):
    """A name that nothing installed provides."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", left_out: Sequence[str] = ()
    ) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        self.suggestions = close_names(name, self.known)
        self.hint = hint or f"List what is installed with: vertebra {_COMMANDS.get(kind, 'plugins')}"
        blocked = f" Installed plugins that your settings leave out: {_shorten(left_out, 5)}." if left_out else ""
        super().__init__(f"No {kind} is named {name!r}.{_did_you_mean(self.suggestions)}{blocked} {self.hint}.")


class NameClashError(VertebraError, LookupError):
    """A name that several plugins claim, so that none of them may have it."""

    def __init__(self, kind: str, name: str, owners: Sequence[object]) -> None:
        self.kind, self.name, self.owners = kind, name, list(owners)
        claims = " and ".join(str(owner) for owner in owners)
        super().__init__(
            f"The {kind} name {name!r} is claimed by {claims}, so neither is used. "
            "Choose one with VERTEBRA_PREFER=<distribution>, or leave one out with VERTEBRA_BLOCK=<distribution>."
        )


# === Plugins ===


class PluginError(VertebraError):
    """What a plugin contributed cannot be used."""

    def __init__(self, plugin: str, problem: str, remedy: str = "") -> None:
        self.plugin, self.problem = plugin, problem
        remedy = remedy or f"Update or uninstall it, or leave it out with VERTEBRA_BLOCK={plugin}"
        super().__init__(f"Plugin {plugin}: {problem}. {remedy}.")


class MissingPluginError(VertebraError):
    """A setting names a plugin or distribution that is not installed."""

    def __init__(self, wanted: str, setting: str, known: Iterable[str], remedy: str = "") -> None:
        self.wanted, self.setting, self.known = wanted, setting, sorted(known)
        self.suggestions = close_names(wanted, self.known)
        hint = _did_you_mean(self.suggestions) or f" Installed are: {', '.join(self.known) or 'none'}."
        remedy = remedy or "Install it, or correct the setting"
        super().__init__(f"{setting} names plugin {wanted!r}, which is not installed.{hint} {remedy}.")


class SettingsError(VertebraError, ValueError):
    """A configuration file or an environment variable cannot be used."""

    def __init__(self, place: str, problem: str, remedy: str = "") -> None:
        self.place, self.problem = place, problem
        super().__init__(f"Settings in {place}: {problem}. {remedy or 'Correct it, or remove it to use the defaults'}.")


class FailedPluginError(VertebraError):
    """A setting requires a plugin that cannot be used: without it, policies might be missing."""

    def __init__(self, plugin: str, setting: str, reason: str) -> None:
        self.plugin, self.setting, self.reason = plugin, setting, reason
        super().__init__(
            f"{setting} requires plugin {plugin!r}, which is not in use: {reason.rstrip('.')}. "
            f"Correct that, or take the plugin out of {setting}."
        )


# === Runtimes ===


class RuntimeUnavailableError(VertebraError, ImportError):
    """A runtime is known, and its backend cannot be used on this machine."""

    def __init__(self, runtime: str, reason: str) -> None:
        self.runtime, self.reason = runtime, reason
        super().__init__(f"Runtime {runtime!r} is not available: {reason}.")


class RuntimeChoiceError(VertebraError):
    """No runtime was chosen, and there is not exactly one to take."""

    def __init__(self, available: Sequence[str]) -> None:
        self.available = list(available)
        if available:
            problem = f"{len(available)} runtimes are installed ({', '.join(available)}) and none was chosen"
            remedy = (
                f'Choose with vertebra.use("{available[0]}"), runtime="{available[0]}", VERTEBRA_RUNTIME or --runtime'
            )
        else:
            problem = "No runtime is installed"
            remedy = "Install a runtime plugin together with its backend; vertebra doctor says what is missing"
        super().__init__(f"{problem}. {remedy}.")


class RuntimeBoundError(VertebraError):
    """Keras is already bound to another backend in this process."""

    def __init__(self, wanted: str, bound: str) -> None:
        self.wanted, self.bound = wanted, bound
        super().__init__(
            f"Runtime {wanted!r} was asked for, but Keras already runs on {bound!r}, and it cannot change in a "
            f"running process. Start a new process, and choose before Keras is imported: VERTEBRA_RUNTIME={wanted}, "
            f'or vertebra.use("{wanted}") as the first line.'
        )


class DtypeChangeError(VertebraError, TypeError):
    """A model's numbers were to become others than its dtype policy says, which would change nothing it computes."""

    def __init__(self, model: str, wanted: str, policy: str) -> None:
        self.model, self.wanted, self.policy = model, wanted, policy
        super().__init__(
            f"The parameters of {model} cannot become {wanted}: Keras computes as the dtype policy {policy!r} says, "
            f"whatever they are. Load or build the model with the dtype: from_preset(..., dtype={wanted!r})."
        )


# === Presets ===


class PresetError(VertebraError):
    """Root of what can be wrong with a preset."""


class PresetNotFoundError(PresetError, FileNotFoundError):
    """No preset, or no such file in it, stands where the handle points."""

    def __init__(self, handle: object, problem: str, suggestions: Sequence[str] = ()) -> None:
        self.handle, self.problem, self.suggestions = handle, problem, list(suggestions)
        what = "path or id; vertebra presets lists the built-in ids"
        if "://" in str(handle):
            what = "path" if ":///" in str(handle) else "handle"
        super().__init__(f"No preset at {str(handle)!r}: {problem}.{_did_you_mean(self.suggestions)} Check the {what}.")

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class PresetChangedError(PresetError):
    """A preset was replaced, or its files were, each time it was read, so that parts of it may be of two versions."""

    def __init__(self, handle: object, name: str) -> None:
        self.handle, self.name = handle, name
        super().__init__(
            f"Preset {str(handle)!r} is being changed: its file {name!r} was replaced while the preset was read, "
            "and so it was each time that reading was started again. Try again when nothing writes there."
        )


class PresetRefusedError(PresetError, PermissionError):
    """A policy plugin refused the preset before anything was loaded."""

    def __init__(self, handle: object, owner: object, reason: str) -> None:
        self.handle, self.owner, self.reason = handle, owner, reason
        super().__init__(
            f"Preset {str(handle)!r} was refused by the policy of {owner}: {reason}. "
            "Choose a preset that the policy allows, or ask whoever keeps that policy."
        )

    def __str__(self) -> str:
        return str(self.args[0])


class PresetConfigError(PresetError, ValueError):
    """A preset's configuration cannot be used."""

    def __init__(self, place: object, problem: str, remedy: str = "") -> None:
        self.place, self.problem = place, problem
        remedy = remedy or "Correct the file, or fetch the preset again"
        super().__init__(f"{place}: {problem}. {remedy}.")


class PresetFormatError(PresetError, ValueError):
    """A preset format that is unknown here, or that cannot hold this backbone."""

    def __init__(self, place: object, problem: str, known: Sequence[str]) -> None:
        self.place, self.problem, self.known = place, problem, list(known)
        super().__init__(f"{place}: {problem}. Formats that can be used here: {', '.join(known) or 'none'}.")


class FormatLimitError(PresetError, ValueError):
    """A preset format has no way to say what a backbone computes."""

    def __init__(self, format: str, argument: str, value: object, problem: str) -> None:
        self.format, self.argument, self.value, self.problem = format, argument, value, problem
        super().__init__(
            f"The {format} format cannot hold {argument}={value!r}: {problem}. "
            "Nothing was written. Save in the native format, which holds every backbone."
        )


class PresetClassError(PresetError, TypeError):
    """A preset was loaded from a class that it does not belong to."""

    def __init__(self, handle: object, found: str, wanted: str) -> None:
        self.handle, self.found, self.wanted = handle, found, wanted
        super().__init__(
            f"Preset {str(handle)!r} holds a {found}, which is not a {wanted}. "
            f"Call vertebra.models.{found}.from_preset(...), or vertebra.Backbone.from_preset(...) for any class."
        )


class PresetSaveError(PresetError, OSError):
    """A preset or adapter could not be written; what stood there before is unchanged."""

    def __init__(self, target: object, problem: str, remedy: str) -> None:
        self.target, self.problem = target, problem
        super().__init__(f"Could not save to {str(target)!r}: {problem}. Nothing there was changed. {remedy}.")

    def __str__(self) -> str:
        return str(self.args[0])


class CertificateError(PresetError):
    """A preset's parity certificate is missing, or does not hold."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(f"Preset {str(handle)!r} cannot be vouched for: {problem}. {remedy}.")


# === Presets that are elsewhere ===


class ClientMissingError(PresetError, ImportError):
    """The client library of a source is not installed."""

    def __init__(self, source: str, package: str) -> None:
        self.source, self.package = source, package
        super().__init__(
            f"Presets at {source} are read with {package}, which is not installed. "
            f"Install it with: pip install {package}."
        )


class PresetAccessError(PresetError, PermissionError):
    """A source does not let the user have a preset."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem, self.remedy = handle, problem, remedy
        super().__init__(f"Preset {str(handle)!r} may not be used: {problem}. {remedy}.")

    def __str__(self) -> str:
        return str(self.args[0])


class RedirectRefusedError(PresetAccessError):
    """A service, or what stands between it and the user, sends them where nobody should be sent."""

    def __init__(self, handle: object, target: str, problem: str, setting: str) -> None:
        self.target, self.setting = target, setting
        remedy = f"Check for a proxy or login page in the way; for a service inside your own network, set {setting}"
        super().__init__(handle, f"its download was redirected to {target}, {problem}", remedy)
        self.problem = problem


class SourceUnavailableError(PresetError, ConnectionError):
    """A source cannot be reached now, or stopped answering: it may pass, so it is tried again a few times."""

    def __init__(self, handle: object, problem: str, retry_after: float | None = None, remedy: str = "") -> None:
        self.handle, self.problem, self.retry_after = handle, problem, retry_after
        remedy = remedy or "Check the network and the endpoint, and try again: what has arrived so far is kept"
        super().__init__(f"Preset {str(handle)!r} cannot be fetched now: {problem}. {remedy}.")

    def __str__(self) -> str:
        return str(self.args[0])


class IntegrityError(PresetError, ValueError):
    """What arrived is not what the source, the lockfile or the cache says that it is; nothing of it is kept."""

    def __init__(self, handle: object, name: str, problem: str, remedy: str = "") -> None:
        self.handle, self.name, self.problem = handle, name, problem
        remedy = remedy or "Try again; if it persists, a proxy or the server changes files, or the preset is damaged"
        super().__init__(f"File {name!r} of preset {str(handle)!r} was not accepted: {problem}. {remedy}.")


class OfflineError(PresetError, FileNotFoundError):
    """Something is not on this machine, and cannot be fetched: VERTEBRA_OFFLINE forbids it, as a rule."""

    def __init__(self, handle: object, missing: Sequence[str], reason: str = "VERTEBRA_OFFLINE is set") -> None:
        self.handle, self.missing = handle, list(missing)
        what = f"missing is {_shorten(self.missing)}" if missing else "nobody has looked up which files it has"
        super().__init__(
            f"Preset {str(handle)!r} is not complete on this machine, and {reason}: {what}. "
            f"Fetch it where there is a network: vertebra pull {handle}. Or carry it here: vertebra bundle {handle} "
            "-o DIR there, and VERTEBRA_CACHE_TIERS=DIR here."
        )

    def __str__(self) -> str:
        return str(self.args[0])


class CacheError(VertebraError, OSError):
    """The cache cannot take something up."""

    def __init__(self, place: object, problem: str, remedy: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(f"Cache {str(place)!r}: {problem}. {remedy}.")

    def __str__(self) -> str:
        return str(self.args[0])


class LockError(PresetError, ValueError):
    """A lockfile is unsound, or does not allow what was asked for."""

    def __init__(self, lockfile: object, problem: str, remedy: str) -> None:
        self.lockfile, self.problem = lockfile, problem
        super().__init__(f"Lockfile {str(lockfile)!r}: {problem}. {remedy}.")


class PresetExistsError(PresetError, FileExistsError):
    """Another preset stands where one was to be uploaded to."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(f"Nothing was uploaded to {str(handle)!r}: {problem}. {remedy}.")

    def __str__(self) -> str:
        return str(self.args[0])


class PresetUploadError(PresetError, ConnectionError):
    """A place stopped answering while a preset was uploaded to it."""

    def __init__(self, handle: object, problem: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(
            f"The upload to {str(handle)!r} did not come to its end: {problem}. Check what stands there now, which is "
            "the whole preset or what was there before, and upload it again if need be."
        )

    def __str__(self) -> str:
        return str(self.args[0])


# === Weights ===


class WeightsFileError(PresetError, ValueError):
    """A weights file is missing, cut short, too long or not what it says it is."""

    def __init__(self, path: object, problem: str, remedy: str = "") -> None:
        self.path, self.problem = path, problem
        super().__init__(f"Weights file {str(path)!r}: {problem}. {remedy or 'Fetch or save the preset again'}.")


class WeightsMismatchError(PresetError, ValueError):
    """The tensors in the files are not those that the architecture needs."""

    def __init__(
        self,
        place: object,
        missing: Sequence[str] = (),
        unused: Sequence[str] = (),
        reshaped: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]] = (),
        retyped: Sequence[str] = (),
    ) -> None:
        self.place = place
        self.missing, self.unused = list(missing), list(unused)
        self.reshaped, self.retyped = list(reshaped), list(retyped)
        shapes = [f"{name} (needed {want}, found {have})" for name, want, have in reshaped]
        parts = [
            _listing("missing", self.missing),
            _listing("not used by the architecture", self.unused),
            _listing("of another shape", shapes),
            _listing("of another kind of number", self.retyped),
        ]
        super().__init__(
            f"The weights in {str(place)!r} do not fit the backbone: {'; '.join(filter(None, parts))}. "
            "Check that config and weights belong together, and constructor arguments given to from_preset."
        )


# === LoRA ===


class LoraError(VertebraError):
    """Root of what can be wrong with a LoRA adapter."""


class LoraTargetError(LoraError, ValueError):
    """A LoRA target that names no layer, or a layer that cannot take an adapter."""

    def __init__(self, target: object, problem: str, candidates: Iterable[str]) -> None:
        self.target, self.problem = target, problem
        self.candidates = sorted(candidate for candidate in candidates if candidate != target)
        hints = close_names(str(target), self.candidates) if target is not None else []
        choice = f"Choose among: {_shorten(self.candidates)}." if self.candidates else "Leave it out, or choose others."
        subject = "LoRA targets" if target is None else f"LoRA target {target!r}"
        super().__init__(f"{subject}: {problem}.{_did_you_mean(hints)} {choice}")


class LoraDeclarationError(LoraError, TypeError):
    """What a backbone class declares for LoRA, in `lora_roles` or `lora_targets`, cannot be used."""

    def __init__(self, owner: str, attribute: str, value: object, expected: str, remedy: str = "") -> None:
        self.owner, self.attribute, self.value, self.expected = owner, attribute, value, expected
        remedy = remedy or "Correct the class"
        super().__init__(f"{owner}.{attribute} is {value!r}, expected {expected}. {remedy}.")


class LoraStrategyError(LoraError):
    """A LoRA strategy breaks a rule that all of them keep, so that it would train or merge wrongly."""

    def __init__(self, strategy: str, owner: object, problem: str) -> None:
        self.strategy, self.owner, self.problem = strategy, owner, problem
        super().__init__(
            f"LoRA strategy {strategy!r} of {owner}: {problem}. Update the plugin, or choose another strategy; "
            "vertebra strategies lists them."
        )


class LoraStateError(LoraError):
    """The backbone has an adapter where it should have none, or none where it needs one."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}. {remedy}.")


class LoraConfigError(LoraError, ValueError):
    """A LoRA setting out of range, or one that is not known here."""

    def __init__(self, place: object, field: str, value: object, expected: str, remedy: str = "") -> None:
        self.place, self.field, self.value, self.expected = place, field, value, expected
        remedy = remedy or "Correct the value and try again"
        super().__init__(f"{place}: {field}={value!r}, expected {expected}. {remedy}.")


class AdapterNotFoundError(LoraError, FileNotFoundError):
    """No adapter stands at a path."""

    def __init__(self, path: object) -> None:
        self.path = path
        super().__init__(
            f"No adapter at {str(path)!r}. Check the path: an adapter is a .safetensors or .lora.h5 file, or a folder "
            "with an adapter_config.json."
        )

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class AdapterMismatchError(LoraError, ValueError):
    """An adapter's tensors are not those that the backbone can take."""

    def __init__(self, place: object, problem: str, names: Sequence[str] = (), remedy: str = "") -> None:
        self.place, self.problem, self.names = place, problem, list(names)
        listed = f": {_shorten(self.names)}" if names else ""
        remedy = remedy or "Load it on the architecture it was trained on"
        super().__init__(f"Adapter {str(place)!r} {problem}{listed}. {remedy}; the backbone is unchanged.")


class AdapterBaseError(LoraError, ValueError):
    """An adapter was trained on other base weights."""

    def __init__(self, place: object, trained_on: str, found: str) -> None:
        self.place, self.trained_on, self.found = place, trained_on, found
        super().__init__(
            f"Adapter {str(place)!r} was trained on other base weights (fingerprint {trained_on[:12]}) than this "
            f"backbone has (fingerprint {found[:12]}). Load the preset it was trained on, or pass check_base=False "
            "if the difference is intended; the backbone is unchanged."
        )


# === Wording that several errors share ===


def close_names(name: str, known: Iterable[str]) -> list[str]:
    """Returns up to three known names that look like `name`, best first."""
    import difflib  # only who needs a hint pays for it

    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]


def _did_you_mean(names: Sequence[str]) -> str:
    return f" Did you mean {', '.join(repr(name) for name in names)}?" if names else ""


def _listing(label: str, names: Sequence[str]) -> str:
    return f"{len(names)} {label}: {_shorten(names)}" if names else ""


def _shorten(names: Sequence[str], most: int = 20) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
