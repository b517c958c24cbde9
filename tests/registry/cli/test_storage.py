"""`vertebra pull | bundle | push | cache | lock | verify`: their output and exit status."""

import json
import logging
import subprocess
import sys
import warnings

import pytest

from vertebra.cli import main
from vertebra.errors import PresetRefusedError

SIZE = 5120 + 8


@pytest.fixture
def run(toy, capsys, monkeypatch):
    """Runs a command and returns its exit status and its output."""
    monkeypatch.setattr(logging.getLogger("vertebra"), "handlers", [])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def command(*words):
        status = main([str(word) for word in words])
        return status, capsys.readouterr().out

    return command


@pytest.fixture
def data(run):
    """Runs a command that must succeed, and returns its JSON."""

    def command(*words):
        status, shown = run(*words, "--json")
        assert status == 0
        return json.loads(shown)

    return command


# === pull and bundle ===


def test_pull_fetches_all_and_says_where_it_is(run, data, toy, cache):
    status, shown = run("pull", "toy://bert")
    assert status == 0
    assert "toy://bert -> toy://bert@r1" in shown
    assert "2 files, 5.1 kB; 5.1 kB downloaded" in shown
    assert str(cache.root / "blobs") in shown
    (facts,) = data("pull", "toy://bert@r1", "toy://bert@r1")
    assert (facts["handle"], facts["bytes"], facts["fetched"]) == ("toy://bert@r1", SIZE, 0)


def test_pull_takes_some_files(data, toy, capsys):
    (facts,) = data("pull", "toy://bert", "--only", "*.json", "--only", "conf*")
    assert [file["name"] for file in facts["files"]] == ["config.json"]
    assert toy.reads() == ["config.json 0"]
    assert main(["pull", "toy://bert", "--only", "*.bib"]) == 1
    assert "*.bib" in capsys.readouterr().err


def test_pull_to_a_folder_writes_the_files_under_their_own_names(run, data, toy, cache, tmp_path):
    (facts,) = data("pull", "toy://bert", "--to", tmp_path / "new" / "bert")
    folder = tmp_path / "new" / "bert"
    assert {file["name"]: file["path"] for file in facts["files"]} == {
        name: str(folder / name) for name in ("config.json", "model.bin")
    }
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == {"config.json": 8, "model.bin": 5120}
    assert list((tmp_path / "new").iterdir()) == [folder]
    (folder / "config.json").write_text("mine")  # a copy: the cache keeps its file
    assert data("cache", "verify")["damaged"] == []
    status, shown = run("pull", "toy://bert", "--only", "config.json", "--to", tmp_path / "one")
    assert (status, shown.splitlines()[-1]) == (0, f"  config.json  8 B  {tmp_path / 'one' / 'config.json'}")


def test_pull_to_a_folder_that_holds_files_needs_a_flag(run, data, toy, tmp_path, capsys):
    folder = tmp_path / "bert"
    data("pull", "toy://bert", "--to", folder)
    (folder / "notes.txt").write_text("mine")
    data("pull", "toy://bert", "--to", folder)  # equal files are no obstacle
    (folder / "config.json").write_text("changed")
    assert main(["pull", "toy://bert", "--to", str(folder)]) == 1
    assert "the folder is not empty: it holds other files" in capsys.readouterr().err
    assert (folder / "config.json").read_text() == "changed"
    data("pull", "toy://bert", "--to", folder, "--replace")
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == {
        "config.json": 8,
        "model.bin": 5120,
        "notes.txt": 4,
    }


MISSING = ["toy://bert", "toy://nowhere", "toy://other", "no_such_id"]


def test_presets_that_can_be_pulled_are_pulled_when_others_are_missing(run, toy, capsys):
    toy.add("other", {"config.json": b"{}"})
    status = main(["pull", *MISSING])
    shown = capsys.readouterr()
    assert status == 1
    assert [line for line in shown.out.splitlines() if not line.startswith(" ")] == [
        "toy://bert -> toy://bert@r1",
        "toy://other -> toy://other@r1",
    ]
    assert "error: No preset at 'toy://nowhere': nothing is there" in shown.err
    assert shown.err.splitlines()[-1] == "error: 2 of 4 presets could not be pulled: toy://nowhere, no_such_id"
    status, shown = run("pull", *MISSING, "--json")
    facts = json.loads(shown)
    assert status == 1
    assert [one["preset"] for one in facts] == MISSING
    assert [one["error"] is None for one in facts] == [True, False, True, False]
    assert "nothing is there" in facts[1]["error"]


def test_pull_takes_what_a_load_reads(data, toy, sample_preset):
    files = {path.name: path.read_bytes() for path in sample_preset.iterdir()}
    toy.add("sample", files | {"pytorch_model.bin": b"x" * 100, "README.md": b"read"})
    (facts,) = data("pull", "toy://sample", "--needed")
    assert {file["name"] for file in facts["files"]} == {"config.json", "model.safetensors"}


def test_pull_of_the_needed_files_names_the_weights_that_are_there(toy, sample_preset, capsys):
    config = (sample_preset / "config.json").read_bytes()
    toy.add("sample", {"config.json": config, "pytorch_model.bin": b"x" * 100})
    assert main(["pull", "toy://sample", "--needed"]) == 1
    assert "run: vertebra convert toy://sample TARGET" in capsys.readouterr().err


def test_the_advice_about_a_bundle_holds_in_every_folder(run, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, shown = run("bundle", "toy://bert", "-o", "models")
    assert f"VERTEBRA_CACHE_TIERS={tmp_path / 'models'};" in shown
    assert f"--from {tmp_path / 'models'}\n" in shown


def test_a_bundle_is_written_and_imported(run, data, toy, configure, tmp_path, cache):
    (written,) = data("bundle", "toy://bert", "-o", tmp_path / "bundle")
    assert written == {"preset": "toy://bert", "handle": "toy://bert@r1", "files": 2, "bytes": SIZE, "left_out": {}}
    configure(VERTEBRA_CACHE=str(tmp_path / "another"), VERTEBRA_OFFLINE="1")
    toy.asked.clear()
    assert data("pull", "toy://bert", "--from", tmp_path / "bundle") == [written]
    assert run("pull", "--from", tmp_path / "bundle")[0] == 0
    assert data("pull", "toy://bert")[0]["fetched"] == 0
    assert toy.asked == []
    _, shown = run("bundle", "toy://bert", "-o", tmp_path / "again")
    assert f"VERTEBRA_CACHE_TIERS={tmp_path / 'again'}" in shown


ODD = {"model.safetensors:Zone.Identifier": b"[ZoneTransfer]", "aux.txt": b"", "run 12:30.log": b"x", "a.": b""}


def test_files_with_unsafe_names_are_left_out_and_named(run, data, toy, tmp_path, sample_preset):
    files = {path.name: path.read_bytes() for path in sample_preset.iterdir()}
    toy.add("odd", files | ODD | {"README.md": b"", "readme.md": b""})
    (pulled,), (bundled,) = data("pull", "toy://odd"), data("bundle", "toy://odd", "-o", tmp_path / "bundle")
    inspected, (locked,) = data("inspect", "toy://odd"), data("lock", "toy://odd", "--lockfile", tmp_path / "lock")
    for facts in (pulled, bundled, inspected, locked):
        assert facts["left_out"].keys() == ODD.keys()
    kept = files.keys() | {"README.md", "readme.md"}
    assert {file["name"] for file in pulled["files"]} == locked["files"].keys() == kept
    assert run("lock", "--lockfile", tmp_path / "lock")[0] == 0
    for words in (["pull", "toy://odd"], ["inspect", "toy://odd"], ["bundle", "toy://odd", "-o", tmp_path / "again"]):
        assert "left out: aux.txt, which is reserved for a device on some systems" in run(*words)[1]


def test_a_bundle_and_a_lockfile_of_such_a_preset_load(data, toy, tmp_path, sample_preset, configure):
    toy.add("odd", {path.name: path.read_bytes() for path in sample_preset.iterdir()} | ODD)
    data("bundle", "toy://odd", "-o", tmp_path / "bundle")
    data("lock", "toy://odd", "--lockfile", tmp_path / "vertebra.lock")
    configure(
        VERTEBRA_CACHE=str(tmp_path / "another"),
        VERTEBRA_CACHE_TIERS=str(tmp_path / "bundle"),
        VERTEBRA_OFFLINE="1",
        VERTEBRA_LOCKED="1",
        VERTEBRA_LOCKFILE=str(tmp_path / "vertebra.lock"),
    )
    assert data("inspect", "toy://odd")["left_out"] == {}


def test_another_cache_with_such_a_preset_is_a_bundle(data, toy, tmp_path, sample_preset, configure, cache):
    toy.add("odd", {path.name: path.read_bytes() for path in sample_preset.iterdir()} | ODD)
    (pulled,) = data("pull", "toy://odd")
    configure(VERTEBRA_CACHE=str(tmp_path / "another"))
    assert data("pull", "toy://odd", "--from", cache.root)[0]["files"] == len(pulled["files"])


@pytest.mark.parametrize(
    ("exists", "problem"),
    [(False, "there is no such folder"), (True, "the folder is not a bundle: it holds no presets")],
)
def test_a_path_without_a_bundle_is_told_with_the_command_that_writes_one(exists, problem, toy, tmp_path, capsys):
    path = tmp_path / "bundle"
    if exists:
        path.mkdir()
    assert main(["pull", "--from", str(path)]) == 1
    assert f"{str(path)!r}: {problem}. Create a bundle with: vertebra bundle PRESET" in capsys.readouterr().err


def test_what_is_locked_is_pulled_and_bundled_without_naming_it(data, toy, tmp_path, run):
    assert run("lock", "toy://bert")[0] == 0
    toy.add("bert", {"config.json": b"{}"}, "r2")
    pulled, again = data("pull", "--locked")[0], data("pull", "--locked")[0]
    assert pulled["handle"] == "toy://bert@r1"
    assert (pulled["fetched"], again["fetched"]) == (SIZE - 8, 0)  # lock has fetched the config
    assert data("bundle", "--locked", "-o", tmp_path / "bundle")[0]["handle"] == "toy://bert@r1"


@pytest.mark.parametrize(
    "words",
    [
        ["pull"],
        ["bundle", "-o", "x"],
        ["bundle", "toy://bert"],
        ["pull", "--from", "x", "--locked"],
        ["pull", "x", "--needed", "--only", "y"],
        ["pull", "x", "y", "--to", "z"],
        ["pull", "x", "--replace"],
        ["pull", "--from", "x", "--to", "y"],
        ["lock", "--remove"],
        ["lock", "x", "--remove", "--update"],
        ["verify", "--dtype", "float32"],
        ["verify", "x", "--lockfile", "y"],
        ["cache"],
        ["cache", "prune", "--older-than", "long"],
        ["push", "x"],
    ],
)
def test_wrong_usage_ends_with_2(words, toy):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


# === push ===


def test_push_prints_the_pinned_handle(run, data, toy, sample_preset, capsys):
    status, shown = run("push", sample_preset, "toy://mine")
    assert (status, shown.splitlines()[0]) == (0, "toy://mine@r1")
    assert "note: it has no parity certificate" in shown
    assert main(["push", str(sample_preset), "toy://mine"]) == 1
    assert "another preset is there" in capsys.readouterr().err
    facts = data("push", sample_preset, "toy://mine", "--replace", "--message", "better")
    assert facts["handle"] == "toy://mine@r2"
    assert facts["files"] == ["README.md", "config.json", "model.safetensors"]
    assert toy.asked[-1] == "upload better"


# === cache ===


@pytest.fixture
def full(run, cache):
    run("pull", "toy://bert")
    return cache


def test_an_empty_cache_is_no_error(run, cache):
    assert run("cache", "path") == (0, f"{cache.root}\n")
    for name in ("ls", "list"):
        assert run("cache", name) == (0, f"no presets\n0 B in {cache.root}\n")
    assert run("cache", "verify") == (0, "0 B hashed; corrupt entries: none\n")
    assert run("cache", "prune") == (0, "removed: nothing; 0 B\n")


@pytest.mark.parametrize("words", [["ls"], ["verify"], ["prune"], ["path"]])
def test_a_system_cache_that_is_a_file_is_an_error(words, run, monkeypatch, capsys, tmp_path, configure):
    configure(VERTEBRA_CACHE="", XDG_CACHE_HOME=str(tmp_path))
    (tmp_path / "vertebra").touch()
    assert main(["cache", *words]) == 1
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["VERTEBRA_CACHE", "VERTEBRA_CACHE_TIERS"])
@pytest.mark.parametrize(
    "words", [["inspect", "./x"], ["pull", "x"], ["presets"], ["lock"], ["verify"], ["cache", "ls"], ["plugins"]]
)
def test_a_cache_that_is_a_file_is_an_error_of_every_command(variable, words, configure, capsys, tmp_path):
    (tmp_path / "file").touch()
    configure(**{variable: str(tmp_path / "file")})
    assert main(words) == 1
    assert f"error: Settings in {variable}: " in capsys.readouterr().err


def test_ls(run, data, full, configure, tmp_path, toy):
    toy.add("other", {"config.json": b"{}", "large": b"x" * 3000})
    run("pull", "toy://other", "--only", "config.json")
    full.stage("partial", "x").write_bytes(b"123")
    shown = run("cache", "ls")[1]
    assert "toy://bert@r1   2 of 2  5.1 kB" in shown
    assert "toy://other@r1  1 of 2  2 B" in shown
    assert "partial downloads: 1, 3 B" in shown
    facts = data("cache", "ls")
    assert facts["bytes"] == SIZE + 2
    assert facts["presets"][0]["revisions_of"] == ["toy://bert"]
    configure(VERTEBRA_CACHE=str(tmp_path / "own"), VERTEBRA_CACHE_TIERS=str(full.root))
    assert f"{full.root}\n" in run("cache", "ls")[1]
    assert data("cache", "path") == {"path": str(tmp_path / "own"), "tiers": [str(full.root)]}


def test_verify_says_what_is_damaged_and_repairs_it_if_asked(run, data, full):
    blob = max((full.root / "blobs").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    blob.chmod(0o644)
    blob.write_bytes(bytes(SIZE - 8))
    status, shown = run("cache", "verify")
    assert status == 1
    assert "model.bin of toy://bert@r1: its bytes have changed" in shown
    assert "--repair" in shown
    status, shown = run("cache", "verify", "--repair", "--json")
    assert status == 1
    assert json.loads(shown)["damaged"][0]["repaired"] is True
    assert data("cache", "verify") == {"bytes": 8, "damaged": []}
    assert data("pull", "toy://bert")[0]["fetched"] == SIZE - 8


def test_prune(run, data, full, capsys):
    assert data("cache", "prune", "toy://bert", "--dry-run")["freed"] == SIZE
    _, shown = run("cache", "prune", "toy://bert")
    assert "removed: toy://bert@r1\nremoved: 2 blobs" in shown
    assert data("cache", "ls")["presets"] == []
    assert main(["cache", "prune", "toy://bert"]) == 1
    assert "not in the cache" in capsys.readouterr().err


def test_what_a_policy_refuses_can_be_removed(run, full, monkeypatch):
    def refuse(handle):
        raise PresetRefusedError(handle, "acme", "no")

    monkeypatch.setattr("vertebra._resolve.candidates.ask_policies", refuse)
    assert "removed: toy://bert@r1" in run("cache", "prune", "toy://bert")[1]


def test_what_is_pulled_as_locked_loads_without_the_lockfile(run, data, toy, configure):
    run("lock", "toy://bert")
    toy.add("bert", {"config.json": b"{}"}, "r2")
    data("pull", "--locked")
    configure(VERTEBRA_OFFLINE="1")
    assert data("pull", "toy://bert")[0]["handle"] == "toy://bert@r1"


@pytest.mark.parametrize("days", ["-1", "nan", "abc"])
def test_days_are_a_number(toy, days, capsys):
    with pytest.raises(SystemExit):
        main(["cache", "prune", "--older-than", days])
    assert "is not a number of days (0 or more)" in capsys.readouterr().err


# === lock and verify ===


def test_lock(run, data, toy, tmp_path):
    status, shown = run("lock", "toy://bert")
    assert (status, shown) == (0, "toy://bert: locked\n  toy://bert@r1: 2 files, 5.1 kB\n")
    assert run("lock") == (0, "toy://bert: unchanged\n  toy://bert@r1: 2 files, 5.1 kB\n")
    toy.add("bert", {"config.json": b"{}"}, "r2")
    assert run("lock") == (
        1,
        "toy://bert: MOVED to another revision\n  locked:  toy://bert@r1\n  current: toy://bert@r2\n",
    )
    assert "--update" in run("lock", "toy://bert")[1]
    status, shown = run("lock", "--update")
    assert (status, shown.splitlines()[-1]) == (0, "  changed: config.json; removed: model.bin")
    assert data("lock", "toy://bert", "--lockfile", tmp_path / "other.lock")[0]["state"] == "added"
    assert run("lock", "toy://bert", "--remove")[1].startswith("toy://bert: removed")


def test_verify_of_a_lockfile(run, data, toy, full, capsys, tmp_path):
    assert main(["verify"]) == 1
    assert "vertebra lock" in capsys.readouterr().err
    run("lock", "toy://bert")
    assert run("verify") == (0, "toy://bert: unchanged\n  2 files, 5.1 kB; 2 verified\n")
    run("cache", "prune", "toy://bert")
    status, shown = run("verify")
    assert status == 1
    assert "not on this machine: config.json, model.bin" in shown
    assert run("verify", "--allow-missing") == (0, shown)
    run("pull", "toy://bert", "--only", "config.json")
    blob = next(path for path in (full.root / "blobs").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"12345678")
    status, shown = run("verify")
    assert (status, shown.splitlines()[0]) == (1, "toy://bert: DIFFERS from the lockfile")
    text = (tmp_path / "vertebra.lock").read_text()
    (tmp_path / "vertebra.lock").write_text(text.replace('"toys": ""', '"toys": "9"'))
    assert "note: locked with toys 9; it is not installed" in run("verify")[1]
    status, shown = run("verify", "--json")
    assert json.loads(shown)["presets"][0]["different"].keys() == {"config.json"}


def test_none_of_them_imports_a_framework(sample_preset, tmp_path):
    code = """import sys
from vertebra.cli import main
preset, target = sys.argv[1:]
for words in (["cache", "ls"], ["cache", "verify"], ["cache", "prune"], ["cache", "path"], ["pull", preset],
              ["lock", preset], ["lock"], ["verify"], ["push", preset, target]):
    assert main(words) == 0, words
print(sorted({"keras", "torch", "jax"} & set(sys.modules)), file=sys.stderr)"""
    environment = {"PATH": "", "VERTEBRA_CACHE": str(tmp_path / "cache"), "VERTEBRA_CONFIG": "/dev/null"}
    environment |= {"VERTEBRA_LOCKFILE": str(tmp_path / "vertebra.lock")}
    done = subprocess.run(
        [sys.executable, "-c", code, sample_preset, tmp_path / "copy"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"
