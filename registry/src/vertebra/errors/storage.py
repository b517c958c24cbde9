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
            f"Reading presets from {source} needs the package {package}, which is not installed. "
            f"Install it with: pip install {package}."
        )


class PresetAccessError(PresetError, PermissionError):
    """The user may not read or write a preset."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem, self.remedy = handle, problem, remedy
        super().__init__(f"Preset {str(handle)!r} is not accessible: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class RedirectRefusedError(PresetAccessError):
    """A redirect was not followed, because its target is not safe."""

    def __init__(self, handle: object, target: str, problem: str, setting: str) -> None:
        self.target, self.setting = target, setting
        remedy = f"Check for a proxy or login page; for a service inside your own network, set {setting}"
        super().__init__(handle, f"its download was redirected to {target}, {problem}", remedy)
        self.problem = problem


class SourceUnavailableError(PresetError, ConnectionError):
    """A source does not answer, or a transfer was cut off. The core retries a few times."""

    def __init__(self, handle: object, problem: str, retry_after: float | None = None, remedy: str = "") -> None:
        self.handle, self.problem, self.retry_after = handle, problem, retry_after
        remedy = remedy or "Check the network and the endpoint, and try again: the partial download is kept"
        super().__init__(f"Preset {str(handle)!r} cannot be fetched now: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class IntegrityError(PresetError, ValueError):
    """A file's bytes do not match the size or digest in the source, the lockfile or the cache; they are discarded."""

    def __init__(self, handle: object, name: str, problem: str, remedy: str = "") -> None:
        self.handle, self.name, self.problem = handle, name, problem
        remedy = (
            remedy or "Try again; if the error persists, a proxy or the server changes files, or the preset is damaged"
        )
        super().__init__(
            f"File {name!r} of preset {str(handle)!r} failed verification: {ended(problem)} {ended(remedy)}"
        )


class OfflineError(PresetError, FileNotFoundError):
    """Files are not on this machine, and the network may not be used or the source does not answer."""

    def __init__(
        self,
        handle: object,
        missing: Sequence[str],
        reason: str = "VERTEBRA_OFFLINE is set",
        revisions: Sequence[object] = (),
    ) -> None:
        self.handle, self.missing, self.revisions = handle, list(missing), list(map(str, revisions))
        problem = f"missing files: {shorten(self.missing)}" if missing else "its file list is not in the cache"
        if revisions:
            problem = f"{problem}, but these revisions are on this machine: {shorten(self.revisions, 5)}"
        super().__init__(
            f"Preset {str(handle)!r} is not complete on this machine, and {reason}; {problem}. "
            f"Fetch it while online: vertebra pull {handle}. Or run, on another machine, vertebra bundle {handle} "
            "-o DIR, copy DIR to this machine, and set VERTEBRA_CACHE_TIERS=/path/to/DIR."
        )

    def __str__(self) -> str:
        return str(self.args[0])


class CacheError(VertebraError, OSError):
    """The cache folder cannot be used or written to."""

    def __init__(self, folder: object, problem: str, remedy: str) -> None:
        self.folder, self.problem = folder, problem
        super().__init__(f"Cache {str(folder)!r}: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class LockError(PresetError, ValueError):
    """A lockfile is invalid, or does not match the requested preset."""

    def __init__(self, lockfile: object, problem: str, remedy: str) -> None:
        self.lockfile, self.problem = lockfile, problem
        super().__init__(f"Lockfile {str(lockfile)!r}: {ended(problem)} {ended(remedy)}")


class SignatureError(PresetError, PermissionError):
    """The signature of a preset is missing, not valid, by another key, or does not cover its files; or none is made."""

    def __init__(self, subject: object, problem: str, remedy: str) -> None:
        self.subject, self.problem, self.remedy = subject, problem, remedy
        super().__init__(f"Signature of {str(subject)!r}: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class PresetExistsError(PresetError, FileExistsError):
    """There is another preset at the target of an upload."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(f"Nothing was uploaded to {str(handle)!r}: {ended(problem)} {ended(remedy)}")

    def __str__(self) -> str:
        return str(self.args[0])


class PresetUploadError(PresetError, ConnectionError):
    """A service stopped answering during the upload of a preset."""

    def __init__(self, handle: object, problem: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(
            f"The upload to {str(handle)!r} did not finish: {ended(problem)} Check the preset at that handle: it is "
            "either the complete new preset or the previous one. Upload again if needed."
        )

    def __str__(self) -> str:
        return str(self.args[0])
