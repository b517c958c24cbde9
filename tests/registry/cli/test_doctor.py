"""`vertebra doctor`: finds broken and hanging plugins, runtimes and settings."""

import json
import subprocess
from pathlib import Path

import pytest

from vertebra.cli import doctor, main

CODE = """
import sys
from vertebra.cli import doctor, doctor_settings, main
doctor._PLUGIN_SECONDS = 6
doctor._examine_runtime = lambda runtime: doctor.Finding(runtime.name, True, "not tried here")
doctor._examine_strategies = doctor._examine_references = lambda names: []
probe = doctor._probe
if not {healthy}:
    doctor._probe = lambda code, module, *more: (
        doctor._Probe(True, "None") if module.startswith("vertebra_") else probe(code, module, *more)
    )
sys.exit(main(["doctor", "--json"]))
"""
"""Imports the plugins of this repository in processes of their own only if `healthy` is True."""
RAISES = "raise ImportError('a library is missing')"
HANGS = "import time; time.sleep(3600)"
HOOK = "import os, signal, time\nfrom vertebra import hookimpl\n@hookimpl\ndef vertebra_backbones():\n    {}"
ENDS = {
    "a signal": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "a status": ("import os; os._exit(3)", "status 3"),
    "a status of success": ("import os; os._exit(0)", "status 0"),
    "a signal in a hook": (HOOK.format("os.kill(os.getpid(), signal.SIGSEGV)"), "SIGSEGV"),
    "a status in a hook": (HOOK.format("os._exit(4)"), "status 4"),
}
PRINTS = {
    "no text": r"import os; os.write(1, b'\xff'); os.write(2, b'\xff\n')",
    "a line without an end": "print('loading... ', end='')",
    "at exit": "import atexit, sys; atexit.register(print, 'bye'); atexit.register(print, 'bye', file=sys.stderr)",
    "JSON": "print('{}')",
    "closed": "import sys; sys.stdout.close()",
    "replaced": "import io, sys; sys.stdout = io.StringIO()",
    "nothing": "import os, sys; sys.stdout = open(os.devnull, 'w'); os.close(1)",
}
SHOWS = "import json; json.dump(dict(os.environ), open({!r}, 'w'))"
SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "KAGGLE_KEY", "GITHUB_TOKEN", "DATABASE_URL")
SECRETS += ("VERTEBRA_ACME_TOKEN", "VERTEBRA_ACME_URL", "KERAS_API_KEY", "XDG_PASSWORD", "CUDA_CLIENT_SECRET")
NEEDED = ("LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS", "KERAS_HOME")
NEEDED += ("VERTEBRA_LOCKFILE",)
CLAIMS = """
from vertebra import BackboneSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("BertBackbone", "claimant:Other")]
"""


@pytest.fixture
def diagnose(tmp_path: Path, python):
    """Runs the doctor in a separate process, with installed plugins of the given sources."""

    def run(variables=(), cwd: Path | None = None, healthy: bool = False, **sources: str):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[vertebra]\n{name} = {name}\n")
        environment = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), **dict(variables)}
        done = python(["-c", CODE.format(healthy=healthy)], cwd=cwd, text=True, env=environment, timeout=60)
        return done.returncode, {row["subject"]: row for row in json.loads(done.stdout)}

    return run


def test_what_is_broken_is_named_with_its_cause_and_the_rest_is_fine(diagnose):
    status, findings = diagnose(healthy=True, broken=RAISES, claimant=CLAIMS)
    assert status == 1
    assert {subject for subject, row in findings.items() if not row["ok"]} == {
        "plugin broken of broken",
        "backbone BertBackbone",
    }
    assert "a library is missing" in findings["plugin broken of broken"]["detail"]
    assert "claimant" in findings["backbone BertBackbone"]["detail"]
    assert "vertebra-bert" in findings["backbone BertBackbone"]["detail"]


def test_a_plugin_that_hangs_is_found_and_does_not_hang_the_doctor(diagnose):
    status, findings = diagnose(sleeper=HANGS)
    assert status == 1
    assert "VERTEBRA_BLOCK=sleeper" in findings["plugin sleeper of sleeper"]["detail"]
    assert findings["backbones"]["ok"]


def test_a_plugin_that_raises_the_exception_of_an_interrupt_is_found(diagnose):
    """V13."""
    status, findings = diagnose(interrupter="raise KeyboardInterrupt")
    assert status == 1
    assert "failed (KeyboardInterrupt)" in findings["plugin interrupter of interrupter"]["detail"]
    assert findings["backbones"]["ok"]


@pytest.mark.parametrize(("source", "ending"), ENDS.values(), ids=ENDS)
def test_a_plugin_that_ends_the_process_is_found_and_does_not_end_the_doctor(diagnose, source, ending):
    """V13: the doctor goes on without the plugin."""
    status, findings = diagnose(killer=source, broken=RAISES)
    assert status == 1
    assert findings["plugin killer of killer"]["detail"].startswith(f"it ended the process with {ending}. ")
    assert "a library is missing" in findings["plugin broken of broken"]["detail"]
    assert findings["backbones"]["ok"]


def test_files_of_the_current_folder_are_not_run(diagnose, tmp_path, monkeypatch):
    folder = tmp_path / "download"
    folder.mkdir()
    planted = ("pluggy", "vertebra", "vertebra_bert", "plain", "keras", "numpy", "torch", "encodings", "json")
    for name in planted:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'flag')!r}, 'w')")
    _, findings = diagnose(cwd=folder, plain=CLAIMS)
    assert findings["plugin plain of plain"]["ok"]
    monkeypatch.chdir(folder)
    assert doctor._probe(doctor._BIND, "no-such-runtime", 60).survived
    assert not (folder / "flag").exists()


def test_a_probe_gets_what_it_needs_of_the_environment_and_no_secret(diagnose, tmp_path):
    shown = tmp_path / "shown.json"
    given = dict.fromkeys((*SECRETS, *NEEDED), "x") | {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    given |= {"TMPDIR": str(tmp_path), "LANG": "C.UTF-8"}
    # It shows what the probe has; the doctor itself, which imports it later, has everything.
    source = f"import os\nif not os.path.exists({str(shown)!r}):\n    {SHOWS.format(str(shown))}"
    _, findings = diagnose(variables=given, witness=source)
    assert "implements no hook" in findings["plugin witness of witness"]["detail"]
    environment = json.loads(shown.read_text())
    assert {name: environment.get(name) for name in NEEDED} == {name: given[name] for name in NEEDED}
    assert not environment.keys() & {*SECRETS}


def test_a_runtime_is_probed_with_the_settings_of_its_backend(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("JAX_API_KEY", "secret")
    code = "def attempt(_):\n    import os\n    return sorted(os.environ)"
    seen = doctor._probe(code, "", 60, r"jax_\w+").answer
    assert "JAX_PLATFORMS" in seen
    assert not {"HF_TOKEN", "JAX_API_KEY"} & {*seen}


@pytest.mark.parametrize("source", PRINTS.values(), ids=PRINTS)
def test_what_a_plugin_prints_is_no_finding(tmp_path, monkeypatch, source):
    (tmp_path / "noisy.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor._probe(doctor._IMPORT, "noisy", 60) == doctor._Probe(True, "None")
    code = "def attempt(text):\n    import noisy\n    return json.loads(text)"
    assert doctor._probe(code, '{"runtime": "toy"}', 60).answer == {"runtime": "toy"}


@pytest.mark.parametrize("source", PRINTS.values(), ids=PRINTS)
def test_nor_does_it_hide_what_is_wrong(tmp_path, monkeypatch, source):
    (tmp_path / "noisy.py").write_text(f"{source}\n{RAISES}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor._probe(doctor._IMPORT, "noisy", 60) == doctor._Probe(False, "ImportError: a library is missing")


@pytest.mark.parametrize("report", ["", "x", "[]", '{"answer": '])
def test_a_report_that_cannot_be_read_is_a_finding(monkeypatch, report):
    done = subprocess.CompletedProcess([], 0, report, "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    (found,) = doctor._examine_strategies(["lora"])
    assert (found.ok, found.detail) == (False, "ended the process with status 0")


def test_a_healthy_installation_passes(monkeypatch, capsys):
    def probe(code, *_):
        tried = {"runtime": "toy", "problems": {}}
        return doctor._Probe(True, "tried", answer=tried if code == doctor._TRY_STRATEGIES else {})

    monkeypatch.setattr(doctor, "_probe", probe)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "BertBackbone" in shown
    assert "FAIL" not in shown


def test_each_failure_is_told_once(diagnose):
    sources = {"broken": RAISES, "hookless": "x = 1", "claimant": CLAIMS}
    _, findings = diagnose(**sources)
    texts = [row["detail"] for row in findings.values() if not row["ok"]]
    for once in ("a library is missing", "it implements no hook", "claimant 1.0"):
        assert [once in text for text in texts].count(True) == 1
    assert "VERTEBRA_BLOCK=hookless" in findings["plugin hookless of hookless"]["detail"]


def test_a_missing_runtime_and_missing_architectures_are_told(diagnose):
    status, findings = diagnose({"VERTEBRA_PLUGINS": "policy"}, policy=POLICY)
    assert status == 1
    assert "install a runtime plugin" in findings["runtimes"]["detail"]
    assert "install a plugin with one" in findings["backbones"]["detail"]
    assert [row["ok"] for row in (findings["runtimes"], findings["backbones"], findings["presets"])] == [
        False,
        False,
        True,
    ]


def test_code_that_ends_the_process_is_found_plugin_by_plugin(monkeypatch):
    def probe(code, plugins, *_):
        died = doctor._Probe(False, "ended the process with SIGSEGV", survived=False)
        return died if "bad" in plugins else doctor._Probe(True, "{}", answer={})

    monkeypatch.setattr(doctor, "_probe", probe)
    found = [(finding.subject, finding.ok) for finding in doctor._examine_references(["bad", "good"])]
    assert found == [("code of bad", False), ("code of good", True)]


def test_where_presets_are_kept_is_examined(monkeypatch, configure, tmp_path):
    tiers = f"{tmp_path},{tmp_path / 'modelz'}"
    configure(VERTEBRA_CACHE_TIERS=tiers, VERTEBRA_OFFLINE="1", VERTEBRA_LOCKED="1")
    found = list(doctor._examine_storage())
    assert [(finding.subject, finding.ok) for finding in found] == [
        ("cache", True),
        ("cache tier", True),
        ("cache tier", False),
        ("offline", True),
        ("lockfile", False),
    ]
    assert "holds no cached files" in found[1].detail
    assert "modelz is not a readable folder; correct VERTEBRA_CACHE_TIERS" in found[2].detail


POLICY = """
from vertebra import hookimpl

@hookimpl
def vertebra_refuse_preset(handle): return "no"
"""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"VERTEBRA_PLUGINS": "policy,*", "VERTEBRA_BLOCK": "policy"},
            "requires plugin 'policy', which cannot be used",
        ),
        (
            {"VERTEBRA_PLUGINS": "broken,*"},
            "requires plugin 'broken', which cannot be used: line 1 of broken failed (ImportError",
        ),
        ({"VERTEBRA_PLUGINS": "polisy,*"}, "names plugin 'polisy', which is not installed. Did you mean 'policy'?"),
        ({"VERTEBRA_BLOCK": "polisy"}, "names plugin 'polisy', which is not installed. Did you mean 'policy'?"),
        ({"VERTEBRA_OFLINE": "1"}, "VERTEBRA_OFLINE: it is not a setting, but resembles VERTEBRA_OFFLINE"),
        ({"VERTEBRA_CACHE": __file__}, "is not a folder, but the cache must be one"),
        ({"VERTEBRA_CACHE_TIERS": f"{__file__}/x"}, "is inside a file, but the cache must be one"),
        ({"VERTEBRA_CONFIG": f"{__file__}.missing"}, "the file cannot be read"),
    ],
)
def test_settings_that_cannot_be_met_are_told_and_not_raised(diagnose, variables, said):
    status, findings = diagnose(variables, policy=POLICY, broken=RAISES)
    assert status == 1
    assert not findings["settings"]["ok"]
    assert said in findings["settings"]["detail"]


def test_a_preference_that_cannot_be_met_is_told(diagnose):
    status, findings = diagnose({"VERTEBRA_PREFER": "polisy"}, policy=POLICY)
    assert status == 1
    assert "VERTEBRA_PREFER names plugin 'polisy'" in findings["contributions"]["detail"]


def test_what_the_settings_leave_out_is_not_imported(diagnose, tmp_path):
    marker = f"from pathlib import Path; Path({str(tmp_path / 'ran')!r}).touch()"
    _, findings = diagnose({"VERTEBRA_PLUGINS": "policy"}, policy=POLICY, other=f"{marker}{POLICY}")
    assert "plugin other of other" not in findings
    assert not (tmp_path / "ran").exists()


def test_other_variables_are_named(diagnose):
    _, findings = diagnose({"VERTEBRA_ACME_TOKEN": "secret"}, policy=POLICY)
    assert "VERTEBRA_ACME_TOKEN" in findings["other variables"]["detail"]
    assert "secret" not in json.dumps(findings)
