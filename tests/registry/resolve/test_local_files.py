"""Files of presets for other programs: paths in the cache, and copies."""

import subprocess
import sys

import pytest

import vertebra
from vertebra._resolve.local_files import copy_files
from vertebra.errors import ArgumentError, OfflineError, PresetNotFoundError, PresetSaveError

FILES = {"config.json": b"{}", "tokenizer.json": b"words", "1_Pooling/config.json": b"[]", "model.bin": b"x" * 3000}


@pytest.fixture
def sentences(toy, cache):
    toy.add("sentences", FILES)
    return "toy://sentences"


# === vertebra.files ===


def test_files_are_found_by_name_and_only_those_are_downloaded(sentences, toy):
    paths = vertebra.files(sentences, "tokenizer.json", "1_Pooling/config.json")
    assert {name: path.read_bytes() for name, path in paths.items()} == {
        "tokenizer.json": b"words",
        "1_Pooling/config.json": b"[]",
    }
    assert sorted(toy.reads()) == ["1_Pooling/config.json 0", "tokenizer.json 0"]


def test_globs_take_several_and_no_name_takes_all(sentences):
    assert vertebra.files(sentences, "*config.json").keys() == {"config.json", "1_Pooling/config.json"}
    assert vertebra.files(sentences).keys() == FILES.keys()


def test_files_of_a_folder_are_those_in_it(sample_folder):
    assert vertebra.files(sample_folder) == {"a [1].txt": sample_folder / "a [1].txt"}
    assert vertebra.files(sample_folder, "a [1].txt").keys() == {"a [1].txt"}


@pytest.fixture
def sample_folder(tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "a [1].txt").write_text("")
    return tmp_path / "sample"


def test_a_name_that_no_file_has_is_answered_with_those_that_resemble_it(sentences):
    with pytest.raises(PresetNotFoundError, match=r"none of its files matches 'tokeniser.json'; it has") as caught:
        vertebra.files(sentences, "tokeniser.json")
    assert caught.value.suggestions[0] == "tokenizer.json"


def test_a_file_that_is_left_out_is_told_with_the_reason(toy, cache):
    toy.add("odd", {"config.json": b"{}", "aux.txt": b""})
    with pytest.raises(PresetNotFoundError, match=r"its file 'aux\.txt' is reserved for a device"):
        vertebra.files("toy://odd", "aux.txt")
    assert vertebra.files("toy://odd").keys() == {"config.json"}


def test_offline_only_cached_files_are_found(sentences, configure):
    vertebra.files(sentences, "config.json")
    configure(VERTEBRA_OFFLINE="1")
    assert vertebra.files(sentences, "config.json")["config.json"].read_bytes() == b"{}"
    with pytest.raises(OfflineError):
        vertebra.files(sentences, "model.bin")


@pytest.mark.parametrize("arguments", [("x", ["config.json"]), ("x", ""), (3,)])
def test_names_are_texts(arguments):
    with pytest.raises(ArgumentError):
        vertebra.files(*arguments)


def test_no_framework_is_imported(sample_folder):
    code = """import sys, vertebra
assert vertebra.files(sys.argv[1])
print(sorted({"keras", "torch", "jax", "numpy"} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code, sample_folder], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"


# === copy_files ===


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_copies_can_be_written_to_and_the_cache_is_not(sentences, tmp_path):
    paths = vertebra.files(sentences)
    counts = []
    copies = copy_files(paths, tmp_path / "copy", advance=lambda done, total: counts.append((done, total)))
    assert contents(tmp_path / "copy") == FILES
    assert counts[-1] == (sum(map(len, FILES.values())),) * 2
    for name, copy in copies.items():
        assert not copy.samefile(paths[name])
        copy.write_bytes(b"mine")
        assert paths[name].read_bytes() == FILES[name]


def test_a_copy_that_fails_leaves_nothing(sentences, tmp_path):
    paths = vertebra.files(sentences)

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_files(paths, tmp_path / "copy", advance=fail)
    assert not (tmp_path / "copy").exists()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "config.json").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        copy_files(paths, tmp_path / "copy", replace=True, advance=fail)
    assert contents(tmp_path / "copy") == {"config.json": b"mine"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".copy")]


def test_an_empty_folder_is_filled(sentences, tmp_path):
    copy_files(vertebra.files(sentences), _empty(tmp_path))
    assert contents(tmp_path / "empty") == FILES


def _empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.parametrize("obstacle", ["file", "link", "folder", "link_out"])
def test_obstacles_are_named_and_nothing_is_changed(sentences, tmp_path, obstacle):
    paths, target = vertebra.files(sentences), tmp_path / "target"
    outside = _empty(tmp_path)
    if obstacle == "file":
        target.write_text("mine")
    elif obstacle == "link":
        target.symlink_to(outside)
    else:
        target.mkdir()
        (target / "config.json").write_text("mine")
        (target / "tokenizer.json").mkdir() if obstacle == "folder" else (target / "1_Pooling").symlink_to(outside)
    with pytest.raises(PresetSaveError):
        copy_files(paths, target, replace=True)
    assert contents(outside) == {}
    if target.is_dir() and not target.is_symlink():
        assert contents(target) == {"config.json": b"mine"}


def test_a_handle_is_no_folder(sentences):
    with pytest.raises(PresetSaveError, match="it is a handle"):
        copy_files(vertebra.files(sentences), "hf://acme/bert")
