"""From what the user wrote to a folder of files: ids, handles, paths, and the policies that have a say in it."""

import types
from pathlib import Path

import pytest

import vertebra
from vertebra import BackboneSpec, LocalSource, PresetFile, PresetHandle, PresetSpec, hookimpl
from vertebra._configuration.settings import settings
from vertebra._presets.lock import lock_presets
from vertebra._resolve.open import open_folder
from vertebra.errors import (
    ClientMissingError,
    HandleError,
    LockError,
    OfflineError,
    PluginError,
    PresetAccessError,
    PresetConfigError,
    PresetError,
    PresetNotFoundError,
    PresetRefusedError,
    SourceUnavailableError,
    UnknownNameError,
)
from vertebra.specs.presets import MOST_FILES


class ToySource(LocalSource):
    """Has one preset, at `toy://here`, whose files it takes from a local folder."""

    scheme = "toy"
    supports_revisions = True

    def __init__(self, folder):
        self.folder = folder
        self.asked = []

    def resolve(self, handle):
        return PresetHandle(handle.scheme, handle.path, handle.revision or "newest")

    def files(self, handle):
        self.asked.append(str(handle))
        return [PresetFile(path.name, path.stat().st_size) for path in self.folder.iterdir()]

    def fetch(self, handle, name):
        self.asked.append(f"{handle}/{name}")
        return self.folder / name


@pytest.fixture
def add(reload_plugins, monkeypatch):
    """Returns a function that adds a plugin with the given hooks, to no others than the built-in ones."""
    monkeypatch.setenv("VERTEBRA_BLOCK", "*")

    def add_hooks(name="acme", **hooks):
        module = types.ModuleType(name)
        for hook, function in hooks.items():
            setattr(module, hook, hookimpl(function, specname=hook))
        vertebra.add_plugin(module, name)

    return add_hooks


@pytest.fixture
def preset(tmp_path):
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "weights").write_bytes(b"123")
    return folder


@pytest.fixture
def source(add, preset):
    """The toy source, and the built-in preset id `toy_en` that lies there."""
    toy = ToySource(preset)
    spec = BackboneSpec("Toy", "nowhere:Toy", presets=(PresetSpec("toy_en", "toy://here@1", 1),))
    add("toys", vertebra_preset_sources=lambda: [toy], vertebra_backbones=lambda: [spec])
    return toy


# === What the user may write ===


@pytest.mark.parametrize(
    ("written", "handle"),
    [("toy_en", "toy://here@1"), ("toy://here@v2", "toy://here@v2"), ("toy://here", "toy://here@newest")],
)
def test_an_id_or_handle_is_resolved_once(written, handle, source, preset):
    folder = open_folder(written)
    assert (folder.requested, str(folder.handle)) == (written, handle)
    assert folder.names == {"config.json", "weights"}
    assert folder.fetch("weights") == preset / "weights"
    assert folder.config().value == {"a": 1}
    assert source.asked == [handle, f"{handle}/weights", f"{handle}/config.json"]


def test_a_path_is_a_local_folder(add, preset, monkeypatch):
    monkeypatch.chdir(preset.parent)
    monkeypatch.setenv("HOME", str(preset.parent))
    expected = f"file://{preset}"
    for written in (preset, str(preset), "./preset", "preset", "preset/", "~/preset", "x/../preset", expected):
        assert str(open_folder(written).handle) == expected


def test_an_id_wins_over_a_folder_of_that_name(source, preset, monkeypatch):
    monkeypatch.chdir(preset.parent)
    preset.rename(preset.parent / "toy_en")
    source.folder = preset.parent / "toy_en"
    assert open_folder("toy_en").handle.scheme == "toy"
    assert open_folder("./toy_en").handle.scheme == "file"


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("", PresetNotFoundError),
        ("toy_eng", PresetNotFoundError),
        ("./nothing", PresetNotFoundError),
        ("~nobody_of_that_name/x", PresetNotFoundError),
        ("x" * 5000, PresetNotFoundError),
        ("/x" * 5000, PresetNotFoundError),
        ("/" + "x" * 300, PresetNotFoundError),
        ("a\0b", PresetNotFoundError),
        ("./a\0b", HandleError),
        ("./\ud800", HandleError),
        ("/", HandleError),
        ("file://relative", HandleError),
        ("file:///nothing@v1", HandleError),
        ("toy://", HandleError),
        ("TOY://here", HandleError),
        ("tоy://here", HandleError),  # the o is Cyrillic
        ("tow://here", UnknownNameError),
    ],
)
def test_anything_else_is_a_typed_error(written, error, source):
    with pytest.raises(error):
        open_folder(written)
    assert source.asked == []


def test_what_is_not_there_comes_with_similar_names(source):
    with pytest.raises(PresetNotFoundError) as caught:
        open_folder("toy_eng")
    assert (caught.value.handle, caught.value.suggestions) == ("toy_eng", ["toy_en"])
    with pytest.raises(UnknownNameError) as unknown:
        open_folder("tow://here")
    assert unknown.value.suggestions == ["toy"]


def test_a_source_that_fails_does_not_keep_the_others_from_a_text(add, preset):
    class Broken(ToySource):
        scheme = "broken"

        def handle_for(self, text):
            raise OSError("no network")

    class Sound(ToySource):
        scheme = "sound"  # asked after the broken one

        def handle_for(self, text):
            return PresetHandle("sound", "here")

    add(vertebra_preset_sources=lambda: [Broken(preset), Sound(preset)])
    with pytest.warns(UserWarning, match="broken|acme"):
        assert open_folder("a_text").handle.scheme == "sound"
    assert open_folder(preset).handle.scheme == "file"  # the core is asked first


@pytest.mark.parametrize("config", [None, "", "[]", '{"a": 1} {}'])
def test_a_config_must_be_there_and_sound(config, add, preset):
    (preset / "config.json").unlink()
    if config is not None:
        (preset / "config.json").write_text(config)
    with pytest.raises(PresetNotFoundError if config is None else PresetConfigError):
        open_folder(preset).config()


@pytest.mark.parametrize("method", ["resolve", "files", "fetch"])
def test_a_source_that_raises_what_it_should_not_is_named(method, source, monkeypatch):
    def broken(*_):
        raise KeyError("sha")

    monkeypatch.setattr(source, method, broken)
    with pytest.raises(PluginError, match=r"source of toy:// failed \(KeyError: 'sha'\)"):
        open_folder("toy_en").fetch("weights")


@pytest.mark.parametrize("written", ["toy:here", "toy:/here", "org/name"])
def test_a_text_that_means_nothing_may_have_been_meant_as_a_handle(written, source, monkeypatch):
    monkeypatch.setattr(source, "suggest", lambda text: "toy://org/name" if text == "org/name" else None)
    with pytest.raises(PresetNotFoundError) as raised:
        open_folder(written)
    assert raised.value.suggestions == ["toy://org/name" if written == "org/name" else "toy://here"]


def test_a_scheme_that_nobody_reads_may_have_been_meant_otherwise(source, monkeypatch):
    monkeypatch.setattr(source, "suggest", lambda text: "toy://here")
    with pytest.raises(UnknownNameError, match="Did you mean toy://here"):
        open_folder("https://toys.example/here")


def test_what_a_policy_leads_to_is_told_beside_the_error(source, add):
    add("mirror", vertebra_rewrite_handle=lambda handle: PresetHandle("file", "/nowhere"))
    with pytest.raises(PresetNotFoundError) as raised:
        open_folder("toy_en")
    assert raised.value.__notes__ == ["'toy_en' was resolved to file:///nowhere by a built-in id or a policy"]
    with pytest.raises(PresetNotFoundError) as raised:
        open_folder("./nowhere")
    assert not hasattr(raised.value, "__notes__")


# === Policies ===


def test_a_policy_sends_a_handle_elsewhere(source, add, preset):
    add("mirror", vertebra_rewrite_handle=lambda handle: PresetHandle("file", str(preset)))
    folder = open_folder("toy_en")
    assert (folder.requested, str(folder.handle)) == ("toy_en", f"file://{preset}")
    assert source.asked == []


def test_rewriting_goes_through_all_policies_in_turn(source, add):
    def append(letter):
        return lambda handle: PresetHandle(handle.scheme, handle.path + letter)

    add("first", vertebra_rewrite_handle=append("1"))
    add("indifferent", vertebra_rewrite_handle=lambda handle: None)
    add("last", vertebra_rewrite_handle=append("2"))
    assert str(open_folder("toy://here").handle) == "toy://here12@newest"


# === Several places ===


class Elsewhere(ToySource):
    """Has presets at `mirror://here`, and fails otherwise as it is told."""

    scheme = "mirror"
    error = None

    def files(self, handle):
        if self.error is not None:
            raise self.error
        return super().files(handle)


@pytest.fixture
def mirror(source, add, tmp_path):
    """A source that every preset is looked for in first."""
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "config.json").write_text('{"a": 2}')
    mirror = Elsewhere(tmp_path / "copy")
    add("mirrors", vertebra_preset_sources=lambda: [mirror])
    add("mirror", vertebra_rewrite_handle=lambda handle: [PresetHandle("mirror", handle.path), handle])
    return mirror


def test_of_several_places_the_first_that_has_it_is_taken(source, mirror):
    assert open_folder("toy_en").config().value == {"a": 2}
    assert source.asked == []
    mirror.error = PresetNotFoundError("mirror://here", "nothing is there")
    assert open_folder("toy_en").config().value == {"a": 1}


@pytest.mark.parametrize("kind", [SourceUnavailableError, OfflineError, PresetAccessError])
def test_a_place_that_cannot_be_read_is_passed_over_with_a_warning(source, mirror, caplog, kind):
    rest = {SourceUnavailableError: ["down"], OfflineError: [[]], PresetAccessError: ["private", "Log in"]}[kind]
    mirror.error = kind("mirror://here", *rest)
    assert str(open_folder("toy_en").handle) == "toy://here@1"
    assert ("mirror://here" in caplog.text) == (kind is not OfflineError)


def test_each_place_that_is_used_must_be_allowed(source, mirror, add):
    add("guard", vertebra_refuse_preset=lambda handle: "only the mirror" if handle.scheme == "toy" else None)
    assert open_folder("toy_en").config().value == {"a": 2}
    mirror.error = PresetNotFoundError("mirror://here", "nothing is there")
    with pytest.raises(PresetRefusedError, match="only the mirror"):
        open_folder("toy_en")


def test_unless_it_is_a_list_of_handles_nothing_is_read(source, add):
    add("mirror", vertebra_rewrite_handle=lambda handle: [])
    with pytest.raises(PluginError, match="a list of them, or None"):
        open_folder("toy_en")


@pytest.mark.parametrize("kind", [HandleError, ClientMissingError])
def test_a_place_that_cannot_have_it_is_passed_over(source, mirror, kind):
    mirror.error = kind("mirror://here", "no such name")
    assert str(open_folder("toy_en").handle) == "toy://here@1"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (SourceUnavailableError("mirror://here", "HTTP 503"), "HTTP 503"),  # it may pass
        (PresetNotFoundError("mirror://here", "no such bucket"), "nothing is there"),  # the last one's
    ],
    ids=str,
)
def test_of_several_errors_the_most_telling_is_raised_with_the_others(source, mirror, monkeypatch, error, raised):
    mirror.error = error
    monkeypatch.setattr(source, "files", lambda handle: fail_with(PresetNotFoundError(handle, "nothing is there")))
    with pytest.raises(PresetError, match=raised) as caught:
        open_folder("toy_en")
    told = "\n".join([str(caught.value), *caught.value.__notes__])
    assert "mirror://here" in told
    assert "toy://here@1" in told


def test_a_place_that_is_refused_does_not_keep_from_the_next(source, mirror, add):
    add("guard", vertebra_refuse_preset=lambda handle: "no mirrors" if handle.scheme == "mirror" else None)
    assert open_folder("toy_en").config().value == {"a": 1}


def test_what_is_locked_comes_from_whichever_place_has_it(source, mirror, preset, tmp_path, monkeypatch):
    mirror.folder = preset
    lock_presets(["toy://here"], tmp_path / "vertebra.lock", update=False)
    monkeypatch.setenv("VERTEBRA_LOCKFILE", str(tmp_path / "vertebra.lock"))
    settings.cache_clear()
    (tmp_path / "vertebra.lock").write_text((tmp_path / "vertebra.lock").read_text().replace("mirror://", "toy://"))
    monkeypatch.setattr(mirror, "fetch", lambda handle, name: fail_with(SourceUnavailableError(handle, "HTTP 503")))
    folder = open_folder("toy://here", locked=True)
    assert folder.handle.scheme == "mirror"
    assert folder.fetch("weights") == preset / "weights"
    assert folder.handle.scheme == "toy"
    source.folder = tmp_path
    monkeypatch.setattr(source, "fetch", lambda handle, name: fail_with(PresetNotFoundError(handle, "it is gone")))
    with pytest.raises(PresetNotFoundError, match="it is gone"):
        open_folder("toy://here", locked=True).fetch("config.json")


def fail_with(error):
    raise error


def test_the_second_place_of_an_id_is_taken_where_the_first_does_not_answer(mirror, source, add, preset):
    presets = (PresetSpec("mine", "mirror://far", 1, copies=("toy://here",)),)
    add(vertebra_backbones=lambda: [BackboneSpec("ToyBackbone", "toy:ToyBackbone", presets)])
    mirror.error = SourceUnavailableError("mirror://far", "HTTP 503")
    assert str(open_folder("mine").handle) == "toy://here@newest"


def fail(handle):
    raise ConnectionError("the policy server is down")


@pytest.mark.parametrize("rewrite", [fail, lambda handle: "toy://other", lambda: None, lambda handle: [handle, "x"]])
def test_a_rewriting_policy_that_fails_stops_the_load(rewrite, source, add):
    add("mirror", vertebra_rewrite_handle=rewrite)
    with pytest.raises(PluginError) as caught:
        open_folder("toy_en")
    assert caught.value.plugin == "mirror"
    assert source.asked == []


@pytest.mark.parametrize("refuse", [lambda handle: "not signed", fail, lambda handle: False, lambda handle: ""])
def test_a_policy_refuses_before_anything_is_read(refuse, source, add):
    add("guard", vertebra_refuse_preset=refuse)
    with pytest.raises(PresetRefusedError) as caught:
        open_folder("toy_en")
    assert caught.value.owner.distribution == "guard"
    assert caught.value.handle == PresetHandle.parse("toy://here@1")
    assert source.asked == []


def test_one_refusal_is_enough(source, add):
    add("a-friend", vertebra_refuse_preset=lambda handle: None)
    assert open_folder("toy_en").names
    add("guard", vertebra_refuse_preset=lambda handle: "no" if handle.scheme == "toy" else None)
    with pytest.raises(PresetRefusedError):
        open_folder("toy_en")


def test_refusing_sees_where_rewriting_led(source, add, preset):
    seen = []
    add("guard", vertebra_refuse_preset=lambda handle: seen.append(str(handle)))
    add("mirror", vertebra_rewrite_handle=lambda handle: PresetHandle("file", str(preset)))
    open_folder("toy_en")
    assert seen == [f"file://{preset}"]


def test_paths_pass_by_the_policies_too(add, preset):
    add("guard", vertebra_refuse_preset=lambda handle: "no local files" if handle.scheme == "file" else None)
    with pytest.raises(PresetRefusedError):
        open_folder(Path(preset))


def test_a_source_with_a_root_of_its_own_is_not_given_absolute_paths(add, tmp_path):
    source = ToySource(tmp_path)
    add(vertebra_preset_sources=lambda: [source])
    with pytest.raises(HandleError):
        open_folder("toy:///etc")
    assert source.asked == []


def test_an_id_means_the_first_of_its_places_that_can_be_read(source, add):
    presets = (PresetSpec("mine", "nowhere://far", 1, copies=("neither://near", "toy://here", "toy://there")),)
    add(vertebra_backbones=lambda: [BackboneSpec("ToyBackbone", "toy:ToyBackbone", presets)])
    assert str(open_folder("mine").handle) == "toy://here@newest"


def test_an_id_of_which_no_place_can_be_read_names_its_own(source, add):
    presets = (PresetSpec("mine", "nowhere://far", 1, copies=("neither://near",)),)
    add(vertebra_backbones=lambda: [BackboneSpec("ToyBackbone", "toy:ToyBackbone", presets)])
    with pytest.raises(UnknownNameError, match="nowhere://far"):
        open_folder("mine")


def test_a_path_is_never_taken_for_an_id(add, tmp_path, monkeypatch):
    presets = (PresetSpec("same", "toy://here", 1),)
    add(vertebra_backbones=lambda: [BackboneSpec("ToyBackbone", "toy:ToyBackbone", presets)])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "same").mkdir()
    assert open_folder(Path("same")).handle.scheme == "file"


@pytest.mark.parametrize(
    "name", ["../x", "assets/../../x", "/x", "a//b", "", ".", "a/./b", "a\\b", "..\\x", "c:x", "C:/x", "a\0b", "a\nb"]
)
def test_a_file_that_may_lead_out_of_its_folder_is_left_out(source, monkeypatch, name):
    """PT-01: every file that can be fetched has a name below the preset's folder."""
    monkeypatch.setattr(source, "files", lambda handle: [PresetFile("config.json", 2), PresetFile(name, 1)])
    folder = open_folder("toy://here")
    assert folder.names == {"config.json"}
    assert "may be outside the preset's folder" in folder.left_out[name]
    with pytest.raises(PresetNotFoundError, match="may be outside the preset's folder"):
        folder.fetch(name)


@pytest.mark.parametrize(
    "name", ["model.safetensors:Zone.Identifier", "run 12:30.log", "aux.txt", "a.", "b ", "x" * 300]
)
def test_a_file_with_an_odd_name_does_not_keep_from_the_others(source, monkeypatch, name):
    files = [PresetFile("config.json", 2), PresetFile(name, 1), PresetFile("README.md", 1), PresetFile("readme.md", 1)]
    monkeypatch.setattr(source, "files", lambda handle: files)
    folder = open_folder("toy://here")
    assert folder.names == {"config.json", "README.md", "readme.md"}
    assert [left[:200] for left in folder.left_out] == [name[:200]]


def test_a_needed_file_that_is_listed_twice_is_an_error(source, monkeypatch):
    files = [PresetFile("config.json", 2), PresetFile("config.json", 3)]
    monkeypatch.setattr(source, "files", lambda handle: files)
    with pytest.raises(PresetNotFoundError, match=r"'config\.json' is listed 2 times"):
        open_folder("toy://here").config()


def test_a_file_that_its_source_cannot_read_is_left_out(source, monkeypatch):
    files = [PresetFile("config.json", 2), PresetFile("vocab.txt", 0, problem="is a link to nothing")]
    monkeypatch.setattr(source, "files", lambda handle: files)
    folder = open_folder("toy://here")
    assert (folder.names, folder.left_out) == ({"config.json"}, {"vocab.txt": "is a link to nothing"})
    with pytest.raises(PresetNotFoundError, match="is a link to nothing"):
        folder.fetch_headers(["vocab.txt"], len)


def test_there_are_not_too_many_files(source, monkeypatch):
    files = [PresetFile(str(number), 1) for number in range(MOST_FILES + 1)]
    monkeypatch.setattr(source, "files", lambda handle: files)
    with pytest.raises(PresetConfigError, match=f"{MOST_FILES + 1:,} files"):
        open_folder("toy://here")


# === Files on this machine ===


def test_a_file_that_is_here_is_found_without_asking_anybody(toy, cache):
    folder = open_folder("toy://bert")
    assert folder.find("config.json") is None
    folder.fetch("config.json")
    toy.asked.clear()
    assert folder.find("config.json").read_bytes() == toy.presets["bert"]["r1"]["config.json"]
    assert (folder.find("model.bin"), folder.find("nothing")) == (None, None)
    assert toy.asked == []


def test_what_another_program_has_is_taken_up(toy, tmp_path):
    (tmp_path / "theirs").write_bytes(toy.presets["bert"]["r1"]["config.json"])
    toy.theirs["config.json"] = tmp_path / "theirs"
    folder = open_folder("toy://bert")
    assert folder.find("config.json").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert toy.reads() == []


def test_what_is_locked_is_checked_when_it_is_found(toy, tmp_path, configure, preset):
    lock_presets([str(preset)], tmp_path / "vertebra.lock", update=False)
    configure(VERTEBRA_LOCKED="1")
    folder = open_folder(str(preset))
    assert folder.relisted() is folder
    assert folder.find("config.json") == preset / "config.json"
    (preset / "config.json").write_text('{"a": 2}')
    with pytest.raises(LockError):
        folder.find("config.json")


def test_a_source_that_would_have_to_fetch_is_not_asked(source, preset):
    folder = open_folder("toy_en")
    source.asked.clear()
    assert folder.find("config.json") is None
    assert folder.relisted() is folder
    assert source.asked == []


def test_a_local_folder_is_listed_again(add, preset):
    folder = open_folder(preset)
    (preset / "vocab.txt").write_text("a word")
    assert (folder.find("vocab.txt"), folder.relisted().find("vocab.txt")) == (None, preset / "vocab.txt")
