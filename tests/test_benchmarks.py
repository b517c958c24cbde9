"""What benchmarks compute from times: medians, quartiles, ratios, bars, tables, results and plots; no test measures."""

import argparse
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"
MODULES = (
    "forward",
    "generating",
    "gpu",
    "growth",
    "loading",
    "measure",
    "products",
    "results",
    "starting",
    "tables",
    "training",
    "turns",
)


@pytest.fixture(scope="module")
def bench():
    """The modules, which import each other by their own names."""
    sys.path.insert(0, str(FOLDER))
    yield argparse.Namespace(**{name: importlib.import_module(name) for name in MODULES})
    sys.path.remove(str(FOLDER))
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(FOLDER)) and "." not in name:
            del sys.modules[name]


# === Figures ===


def test_quartiles_enclose_half_of_the_values(bench):
    assert bench.measure.quartiles([5, 1, 2, 4, 3]) == [2, 4]
    assert bench.measure.quartiles([7]) == [7, 7]


def test_a_ratio_is_the_median_over_turns(bench):
    assert bench.measure.ratio([1, 10, 3], [2, 10, 30]) == 0.5
    with pytest.raises(ValueError, match="shorter"):
        bench.measure.ratio([1, 2], [1])


def test_a_verdict_names_the_missed_bars(bench):
    assert bench.measure.verdict({}) is None
    assert bench.measure.verdict({"time": True, "memory": True}) == "holds"
    assert bench.measure.verdict({"time": False, "memory": True, "limit": False}) == "missed: time, limit"


def test_calls_in_a_row_are_one_at_least_and_no_more_than_asked_for(bench):
    calls = []
    assert bench.measure.seconds_in_a_row(lambda: calls.append(1), 3) < 0.5
    assert len(calls) == 3
    bench.measure.seconds_in_a_row(lambda: calls.append(1), 0)
    assert len(calls) == 4


# === Processes that wait ===


ECHO = "import sys, json\nfor line in sys.stdin: print(json.dumps(line.split()), flush=True)\nprint('{\"lines\": 2}')"


def test_a_process_answers_each_line_and_its_end(bench):
    with bench.turns.waiting({"echo": [sys.executable, "-c", ECHO]}) as processes:
        assert processes["echo"].ask("compiled 1 8") == ["compiled", "1", "8"]
        assert processes["echo"].ask() == []
        assert processes["echo"].end() == {"lines": 2}


def test_a_process_that_ends_says_why(bench):
    with (
        bench.turns.waiting({"broken": [sys.executable, "-c", "raise SystemExit('no such kernel')"]}) as processes,
        pytest.raises(RuntimeError, match="no such kernel"),
    ):
        processes["broken"].ask("x")


def test_processes_end_with_the_block(bench):
    with bench.turns.waiting({"echo": [sys.executable, "-c", ECHO]}) as processes:
        assert processes["echo"].ask("1") == ["1"]
    assert processes["echo"]._process.returncode == -signal.SIGKILL


# === Rows and bars ===


@pytest.fixture
def preset(tmp_path):
    """A native preset of two dense layers, of which one gets a row for each text."""
    tensors = {"layer/query/kernel": [4, 8], "pooled_dense/kernel": [4, 4], "token_embedding/embeddings": [9, 4]}
    header = json.dumps({name: {"dtype": "F32", "shape": shape} for name, shape in tensors.items()}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return tmp_path


def test_the_limit_counts_the_operations_of_dense_layers(bench, preset):
    sizes = bench.products.layer_sizes(preset)
    assert sizes == [(4, 8, True), (4, 4, False)]
    assert bench.products.operations(sizes, 2, 3) == 2 * (4 * 8 * 6 + 4 * 4 * 2)


@pytest.fixture
def match(bench, preset):
    ways = {**bench.forward.WAYS["torch"], "transformers, eager": ("transformers", "eager")}
    libraries = ("vertebra", "transformers")
    presets, python = dict.fromkeys(libraries, preset), dict.fromkeys(libraries, sys.executable)
    return bench.forward.Match("bert", "torch", "float32", presets, python, ways, "transformers, eager")


def times(compiled, packed=None, peer=1.0, linear=0.5, of_packed=None):
    return {
        "Vertebra, compiled": [compiled] * 3,
        "Vertebra, packed": [packed or compiled] * 3,
        "transformers, eager": [peer] * 3,
        "limit: linear": [linear] * 3,
        "limit: packed": [of_packed] * 3,
        "limit: widened": [None] * 3,
    }


def test_a_forward_pass_is_compared_with_its_peer_and_with_the_faster_kernel(bench, match):
    rows = bench.forward.rows(match, {(8, 128): times(0.6, 0.5, of_packed=0.45)})
    found = [(row["computed by"], row["of the peer's, %"], row["limit, ms"], row["bars"]) for row in rows]
    assert found == [
        ("Vertebra, compiled", 0.6, 450, "missed: limit"),
        ("Vertebra, packed", 0.5, 450, "holds"),
        ("*transformers, eager*", 1.0, 450, None),
    ]


def test_a_kernel_that_the_machine_lacks_is_no_limit(bench, match):
    (row, *_) = bench.forward.rows(match, {(1, 8): times(0.7)})
    assert (row["limit, ms"], row["of the limit, %"], row["bars"]) == (500, pytest.approx(5 / 7), "missed: time")


def test_rows_in_bfloat16_say_what_the_processor_multiplies(bench, match):
    changed = bench.forward.Match(**{**vars(match), "dtype": "bfloat16"})
    (row, *_) = bench.forward.rows(changed, {(1, 8): times(0.8)})
    assert row["the processor's products"] in ("bfloat16", "float32 alone")
    assert row["bars"] == "holds"


def test_groups_of_processes_are_joined_turn_by_turn(bench):
    groups = iter([{(1, 8): {"a": [1], "b": [2], "c": [5]}}, {(1, 8): {"a": [3], "b": [4], "c": []}}])
    assert bench.forward.together(groups) == {(1, 8): {"a": [1, 3], "b": [2, 4], "c": []}}


def test_a_way_that_would_take_too_long_is_left_out_and_has_no_verdict(bench, match):
    found = {(1, 8): times(4.0, 0.1)}
    assert bench.forward.expected(found, "Vertebra, compiled", (1, 128)) == 64
    assert bench.forward.expected(found, "limit: packed", (1, 128)) == float("inf")
    assert bench.forward.expected({}, "Vertebra, compiled", (1, 8)) == 0
    left_out = times(4.0, 0.7) | {"Vertebra, compiled": []}
    compiled, packed, _ = bench.forward.rows(match, {(1, 128): left_out})
    assert (compiled["time, ms"], compiled["bars"]) == (None, "missed: over 30 s")
    assert (packed["time, ms"], packed["bars"]) == (700, "holds")
    without_peer = left_out | {"transformers, eager": [], "limit: linear": []}
    compiled, packed, _ = bench.forward.rows(match, {(8, 128): without_peer})
    assert compiled["bars"] == "left out: over 30 s"
    assert [packed[title] for title in ("of the peer's, %", "limit, ms", "bars")] == [None, None, None]


@pytest.mark.parametrize(("step", "memory", "bars"), [(0.7, 70, "holds"), (0.8, 80, "missed: time, memory")])
def test_steps_are_compared_in_time_and_memory(bench, step, memory, bars):
    own, peer = "Vertebra, torch loop", "PEFT, torch loop"
    figures = {
        title: {"trained": 8, "anonymous_mb": 1, "rss_mb": 1, "peak_mb": peak}
        for title, peak in ((own, memory), (peer, 100))
    }
    times = {own: [step] * 2, peer: [1.0] * 2, "linear": [0.2, 0.2], "packed": [None, None]}
    row = bench.training.row("BERT", own, times, figures, "torch")
    assert (row["bars"], row["limit, s"]) == (bars, 0.2)
    assert bench.training.row("BERT", peer, times, figures, "torch")["bars"] is None


@pytest.mark.parametrize(
    ("model", "what", "share", "bar"),
    [("BERT, torch", "native preset", 1.1, False), ("BERT, jax", "native preset", 1.1, False)]
    + [("BERT, jax", f"{format} preset", 1.9, True) for format in ("transformers", "kerashub")]
    + [("BERT, torch", "transformers preset", 0.9, True)],
)
def test_a_second_load_may_take_as_long_as_a_copy_allows(bench, model, what, share, bar):
    row = {"model": model, "of KerasHub, ×": 0.01, "of transformers, ×": 0.1, "again of transformers, ×": share}
    assert bench.loading._bars(what, row, 0.0)["again"] is bar


def test_a_start_has_the_bar_of_its_runtime(bench):
    times = {"Vertebra": [3.0], "*transformers*": [4.0], "*KerasHub*": [20.0], "limit": [1.5]}
    on_torch = bench.starting.row("BERT", "Vertebra", times, "torch")
    assert (on_torch["of transformers', %"], on_torch["of the limit, %"]) == (0.75, 0.5)
    assert on_torch["bars"] == "missed: transformers"
    del times["*transformers*"]
    on_jax = bench.starting.row("BERT", "Vertebra", times, "jax")
    assert (on_jax["of transformers', %"], on_jax["bars"]) == (None, "holds")


@pytest.mark.parametrize(
    ("step", "first", "bars"),
    [(0.1, 0.2, "holds"), (0.4, 0.9, "missed: KerasHub, transformers, first token, bandwidth")],
)
def test_generation_is_compared_with_both_libraries_and_with_the_bandwidth(bench, step, first, bars):
    generating = bench.generating
    own = {"all": [first + 9 * step] * 2, "first": [first] * 2, "warm-up": [5.0], "bandwidth": [10e9] * 2}
    theirs = {"all": [4.0] * 2, "first": [0.8] * 2, "warm-up": [1.0], "bandwidth": [10e9] * 2}
    hub = {name: values for name, values in theirs.items() if name != "first"} | {"all": [6.0] * 2}
    times = {generating.OWN: own, generating.TRANSFORMERS: theirs, generating.KERASHUB: hub}
    rows = [generating.row("GPT", "torch", title, times, 1, 10, 8 * 10**8) for title in times]
    assert [row["bars"] for row in rows] == [bars, None, None]
    assert [row["a further token, ms"] for row in rows][::2] == [pytest.approx(1000 * step), None]
    assert rows[0]["of the bandwidth, %"] == pytest.approx(0.08 / step)
    (batch, _, _) = [generating.row("GPT", "jax", title, times, 8, 10, 8 * 10**8) for title in times]
    assert (batch["tokens/s"], batch["of the bandwidth, %"]) == (round(80 / (first + 9 * step), 1), None)


def test_generation_with_adapters_is_compared_with_one(bench):
    times = {"one": [1.0, 1.0], "each": [1.25, 2.0], "one warm-up": [3.0], "each warm-up": [4.0]}
    one, each = bench.generating.adapter_rows("GPT", times, 10)
    assert (one["bars"], each["of one adapter's, %"], each["bars"]) == (None, pytest.approx(0.65), "missed: adapters")
    assert list(one) == list(each)


def test_growth_is_judged_by_its_cause(bench):
    growth = bench.growth
    flat = growth.memory_row("loads", "torch", [{"memory": [50, 51, 52, 53], "seconds": 0.01}])
    leaking = growth.memory_row("swaps", "jax", [{"memory": [50, 60, 70, 90], "seconds": 0.01}])
    assert [(row["growth, MB"], row["bars"]) for row in (flat, leaking)] == [(3, "holds"), (40, "missed: growth")]
    times = {"0": [0.2, 0.3], "100": [0.25, 0.35], "1000": [1.4, 1.5]}
    assert [growth.discovery_row(count, times)["bars"] for count in (0, 100, 1000)] == [None, "holds", "missed: time"]
    linear = growth.compiling_rows("jax", {str(layers): 0.1 * layers for layers in growth.LAYERS})
    quadratic = growth.compiling_rows("jax", {str(layers): 0.1 * layers**2 for layers in growth.LAYERS})
    assert [rows[-1]["bars"] for rows in (linear, quadratic)] == ["holds", "missed: linear"]


# === Tables and results ===


def test_a_table_writes_units_ranges_and_what_is_missing(bench):
    rows = [
        {"model": "BERT", "time, ms": 1.25, "quartiles, ms": [1.0, 1.5], "of the peer's, %": None, "bars": None},
        {"model": "GPT", "time, ms": 2.0, "quartiles, ms": [2.0, 2.0], "of the peer's, %": 0.5, "bars": "holds"},
    ]
    assert bench.tables.markdown(rows).splitlines() == [
        "| model | time, ms | quartiles, ms | of the peer's, % | bars |",
        "| --- | ---: | ---: | ---: | --- |",
        "| BERT | 1.2 | 1.0–1.5 | – | – |",
        "| GPT | 2.0 | 2.0–2.0 | 50.0% | holds |",
    ]


def test_a_table_replaces_the_one_of_its_name(bench, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: a -->\n| old |\n\n<!-- table: a.b -->\n\ntext\n")
    bench.tables.replace_table(page, "a", "| new |")
    bench.tables.replace_table(page, "a.b", "| b |")
    assert page.read_text() == "<!-- table: a -->\n| new |\n\n<!-- table: a.b -->\n| b |\n\ntext\n"
    with pytest.raises(SystemExit, match="no place for the table 'c'"):
        bench.tables.replace_table(page, "c", "| c |")


def test_results_keep_the_newest_record_of_each_table(bench, tmp_path):
    path = tmp_path / "results.json"
    bench.results.keep(path, "b", bench.results.record(2, [{"time, s": 1.5}]))
    bench.results.keep(path, "a", bench.results.record(5, []))
    bench.results.keep(path, "a", bench.results.record(1, []))
    records = bench.results.read(path)
    assert [(name, record["runs"], record["rows"]) for name, record in records.items()] == [
        ("a", 1, []),
        ("b", 2, [{"time, s": 1.5}]),
    ]
    assert records["a"]["machine"]["cores"] == os.cpu_count()


def test_the_page_has_a_place_for_each_table():
    page = (FOLDER.parents[1] / "docs" / "benchmarks" / "index.md").read_text(encoding="utf-8")
    tree = (FOLDER / "run.py").read_text(encoding="utf-8")
    names = tree.split("TABLES = (")[1].split(")")[0].replace('"', "").replace(",", "").split()
    assert len(names) == 22
    assert [name for name in names if page.count(f"<!-- table: {name} -->\n") != 1] == []


# === Plots ===


def test_plots_are_the_same_for_the_same_results(bench, match, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the group `bench`: make bench installs it")
    import plots

    rows = bench.forward.rows(match, {shape: times(0.6, 0.5) for shape in bench.forward.TURNS})
    records = {"forward.float32": {"rows": rows}, "growth.discovery": {"rows": discovery(bench)}}
    drawn = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        drawn.append([path.read_text(encoding="utf-8") for path in plots.draw_all(records, tmp_path / name)])
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["forward.svg", "growth.svg"]
    assert drawn[0] == drawn[1]
    for svg in drawn[0]:
        assert svg.startswith("<svg ")
        assert "<title>" in svg
        assert not [text for text in ("metadata", "<?xml", plots.INK) if text in svg]
        assert len(svg) < 40_000
    assert ">BERT-base<" in drawn[0][0]


def discovery(bench):
    return [bench.growth.discovery_row(count, {"0": [0.2], "100": [0.3]}) for count in (0, 100)]


def test_no_results_give_no_plot(bench, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the group `bench`: make bench installs it")
    import plots

    assert plots.draw_all({}, tmp_path) == []


# === On a GPU ===


def test_without_a_gpu_the_script_says_so_in_a_line():
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")
    done = subprocess.run(
        [sys.executable, str(FOLDER / "gpu.py")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.count("\n")) == (3, 1)
    assert "no CUDA GPU" in done.stdout


def test_a_job_ends_when_its_time_is_over(bench):
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        pytest.raises(bench.gpu.OutOfTimeError),
        bench.gpu.within(0.2),
        bench.turns.waiting({"sleeping": sleeping}) as processes,
    ):
        processes["sleeping"].ask()
    with bench.gpu.within(60):
        pass


def test_the_page_of_the_gpu_gets_results_and_their_date(bench, tmp_path, monkeypatch):
    page = tmp_path / "gpu.md"
    page.write_text(bench.gpu.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(bench.gpu, "PAGE", page)
    row = {"dtype": "float32", "time, ms": 1.0}
    found = {
        "gpu": "a GPU",
        "date": "2030-01-02",
        "seconds": 400,
        "machine": {"packages": {"torch": "9.9"}},
        "tables": {"gpu.forward": [row], "gpu.training": [row], "gpu.loading": []},
        "failed": {},
        "left_out": ["loads of gpt2, float32, torch"],
    }
    bench.gpu.write_page(found)
    text = page.read_text(encoding="utf-8")
    assert "Measured on 2030-01-02 in 400 s. GPU: a GPU. torch 9.9. No time was left for: loads of gpt2" in text
    assert "not been run yet" not in text
    assert text.count("| float32 | 1.0 |") == 2
