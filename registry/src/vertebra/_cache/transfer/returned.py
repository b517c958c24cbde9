"""What a source returns, checked, so that an error names the method of the plugin that is wrong."""

from __future__ import annotations

from vertebra.errors import PluginError, SourceUnavailableError, VertebraError, exception_text
from vertebra.handles import PresetHandle
from vertebra.remote import ByteStream, RemoteSource, Snapshot
from vertebra.specs import PresetFile
from vertebra.specs.presets import FileSizeError

_REMEDY = "Correct the source, or update the plugin"


def snapshot_of(source: RemoteSource, handle: PresetHandle) -> Snapshot:
    """Returns the snapshot of a handle, as the service has it now.

    Raises:
        SourceUnavailableError: the service lists a size that no file has.
        PluginError: the source returns no snapshot, or an unpinned one, or makes one with invalid files.
        VertebraError: as `RemoteSource.resolve_snapshot` raises it.
    """
    try:
        snapshot: object = source.resolve_snapshot(handle)
    except VertebraError:
        raise
    except FileSizeError as error:
        raise SourceUnavailableError(handle, f"the service lists a size that no file has ({error})") from error
    except (TypeError, ValueError) as error:  # such as a PresetFile with an invalid digest
        raise _wrong(source, f"resolve_snapshot failed ({exception_text(error)})") from error
    if not isinstance(snapshot, Snapshot):
        raise _wrong(source, f"resolve_snapshot returned {_kind(snapshot)}, expected a Snapshot")
    if not source.is_pinned(snapshot.handle):
        raise _wrong(source, f"resolve_snapshot returned {snapshot.handle}, which is_pinned says is not pinned")
    return snapshot


def stream_of(
    source: RemoteSource, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None
) -> ByteStream:
    """Returns the stream of a file, or of a range of it.

    Raises:
        PluginError: the source returns no stream.
        VertebraError: as `RemoteSource.read` raises it.
    """
    stream: object = source.read(handle, file, start, stop)
    if not isinstance(stream, ByteStream):
        raise _wrong(source, f"read returned {_kind(stream)}, expected a ByteStream")
    return stream


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _wrong(source: RemoteSource, problem: str) -> PluginError:
    return PluginError(
        type(source).__module__.partition(".")[0], f"its source of {source.scheme}://: {problem}", _REMEDY
    )
