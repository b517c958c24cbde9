"""Errors of remote presets, the cache and the lockfile."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import VertebraError, ended, shorten
from vertebra.errors.presets import PresetError


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
        super().__init__(f"Preset {str(handle)!r} may not be used: {ended(problem)} {ended(remedy)}")

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
        super().__init__(f"Preset {str(handle)!r} cannot be fetched now: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class IntegrityError(PresetError, ValueError):
    """What arrived is not what the source, the lockfile or the cache says that it is; nothing of it is kept."""

    def __init__(self, handle: object, name: str, problem: str, remedy: str = "") -> None:
        self.handle, self.name, self.problem = handle, name, problem
        remedy = remedy or "Try again; if it persists, a proxy or the server changes files, or the preset is damaged"
        super().__init__(f"File {name!r} of preset {str(handle)!r} was not accepted: {ended(problem)} {ended(remedy)}")


class OfflineError(PresetError, FileNotFoundError):
    """Something is not on this machine, and cannot be fetched: VERTEBRA_OFFLINE forbids it, as a rule."""

    def __init__(self, handle: object, missing: Sequence[str], reason: str = "VERTEBRA_OFFLINE is set") -> None:
        self.handle, self.missing = handle, list(missing)
        what = f"missing is {shorten(self.missing)}" if missing else "its list of files is not in the cache"
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
        super().__init__(f"Cache {str(place)!r}: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class LockError(PresetError, ValueError):
    """A lockfile is unsound, or does not allow what was asked for."""

    def __init__(self, lockfile: object, problem: str, remedy: str) -> None:
        self.lockfile, self.problem = lockfile, problem
        super().__init__(f"Lockfile {str(lockfile)!r}: {ended(problem)} {ended(remedy)}")


class PresetExistsError(PresetError, FileExistsError):
    """Another preset stands where one was to be uploaded to."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(f"Nothing was uploaded to {str(handle)!r}: {ended(problem)} {ended(remedy)}")

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
