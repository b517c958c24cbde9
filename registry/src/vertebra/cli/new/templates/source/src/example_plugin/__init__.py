"""Presets of a web server: `example-name://PATH[@REVISION]`."""

import os

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot, errors, hookimpl, http

SERVER = os.environ.get("EXAMPLE_PLUGIN_URL", "https://models.example.com")  # your server
CREDENTIAL = "EXAMPLE_PLUGIN_TOKEN"  # the environment variable with the user's credential


class ExamplePluginSource(RemoteSource):  # this module must import no framework and no client library
    scheme = "example-name"

    def __init__(self, url: str = SERVER) -> None:
        self._service = http.Transport(url, token=lambda: os.environ.get(CREDENTIAL))

    def is_pinned(self, handle: PresetHandle) -> bool:
        return handle.revision is not None

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        # The index of a preset: {"revision": "2f1c", "files": [{"name": "config.json", "size": 9, "sha256": "…"}]}
        index = self._service.json(handle, f"{handle.path}/{handle.revision or 'newest'}.json")
        try:
            files = [PresetFile(f["name"], f["size"], digest=f"sha256:{f['sha256']}") for f in index["files"]]
            return Snapshot(PresetHandle(self.scheme, handle.path, index["revision"]), files)
        except (LookupError, TypeError):
            raise errors.SourceUnavailableError(handle, "the index of its files is damaged") from None

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        return self._service.read(handle, file, f"{handle.path}/{handle.revision}/{file.name}", start, stop)


@hookimpl
def vertebra_preset_sources() -> list[RemoteSource]:
    return [ExamplePluginSource()]
