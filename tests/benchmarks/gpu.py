"""Measures on one CUDA GPU within eight minutes: forward passes, LoRA steps, loads to the device.

Prints Markdown and JSON, and writes both after each job, so that whatever ends the run leaves what was measured before.
Without a GPU that torch sees, it says so and exits with status 3.
"""

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import results
from gpu_jobs import Setting, gpu_name, has_transformers, jax_platform, jobs
from tables import markdown, replace_table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "gpu.md"
NO_GPU = 3
"""The exit status on a machine without a GPU."""
MINUTES = 8
LEAST_SECONDS = 15
"""The time that must be left for a job to begin, and that is kept for the end."""


class OutOfTimeError(Exception):
    """The time for all jobs is over."""


def main() -> int:
    start = time.monotonic()
    chosen = arguments()
    if chosen.page:
        write_page(json.loads(chosen.page.read_text(encoding="utf-8")))
        return 0
    name = "none: the tiny model on a processor" if chosen.device == "cpu" else gpu_name()
    if name is None:
        print("This machine has no CUDA GPU that torch sees: nothing was measured.")
        return NO_GPU
    chosen.out.mkdir(parents=True, exist_ok=True)
    platform = jax_platform()
    setting = Setting(
        chosen.device,
        chosen.peers,
        has_transformers(chosen.peers),
        platform == ("cpu" if chosen.device == "cpu" else "gpu"),
        chosen.out / "presets",
        chosen.tiny,
    )
    setting.prepare()
    found = measure(setting, name, start, 60 * chosen.minutes, chosen.out)
    print(json.dumps(found, ensure_ascii=False))
    return 0


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"the time for all of it (default: {MINUTES})")
    parser.add_argument(
        "--peers", type=Path, default=Path(sys.executable), help="interpreter with transformers and PEFT"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", help="folder for results and presets")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="measure nothing: put such results into docs/benchmarks"
    )
    # To try the jobs on a machine without a GPU; the results say that they are none.
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(setting: Setting, gpu: str, start: float, seconds: float, out: Path) -> results.Record:
    """Runs as many jobs as the time allows, and writes the results after each.

    Returns:
        The GPU, the date, the machine, the tables, and the jobs that failed or for which there was no time.
    """
    facts = results.record(1, [])
    found = {"gpu": gpu, "date": facts["date"], "machine": facts["machine"], "tables": {}, "failed": {}, "left_out": []}
    for table, title, job in jobs(setting):
        left = seconds - (time.monotonic() - start) - LEAST_SECONDS
        outcome = "done"
        try:
            if left < LEAST_SECONDS:
                raise OutOfTimeError
            with within(left):
                found["tables"].setdefault(table, []).extend(job())
        except OutOfTimeError:
            found["left_out"].append(title)
            outcome = "no time"
        except Exception as error:
            found["failed"][title] = str(error)[-500:]
            outcome = "failed"
        found["seconds"] = round(time.monotonic() - start)
        (out / "gpu.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (out / "gpu.md").write_text(report(found), encoding="utf-8")
        print(f"{found['seconds']:4} s  {title}: {outcome}", flush=True)
    print(f"\n{report(found)}")
    return found


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises `OutOfTimeError` in a block that takes longer; what the block has started ends with it."""

    def end(*_: object) -> None:
        raise OutOfTimeError

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def report(found: results.Record) -> str:
    """Returns the results as Markdown."""
    tables = [f"{name}\n\n{markdown(rows)}" for name, rows in found["tables"].items() if rows]
    return "\n\n".join([summary(found), *tables]) + "\n"


def summary(found: results.Record) -> str:
    """Returns a paragraph on the run: GPU, date, versions, and the jobs that it could not finish."""
    versions = ", ".join(f"{name} {version}" for name, version in found["machine"]["packages"].items())
    parts = [f"Measured on {found['date']} in {found['seconds']} s. GPU: {found['gpu']}. {versions}."]
    if found["left_out"]:
        parts.append(f"No time was left for: {'; '.join(found['left_out'])}.")
    if found["failed"]:
        parts.append(f"Failed: {'; '.join(found['failed'])}.")
    return " ".join(parts)


def write_page(found: results.Record) -> None:
    """Puts results into the page, with their date."""
    text = PAGE.read_text(encoding="utf-8")
    mark = "<!-- run -->\n"
    PAGE.write_text(re.sub(rf"{mark}.*\n", lambda _: f"{mark}{summary(found)}\n", text), encoding="utf-8")
    for name, rows in found["tables"].items():
        if rows:
            replace_table(PAGE, name, markdown(rows))


if __name__ == "__main__":
    sys.exit(main())
