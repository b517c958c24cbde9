"""System calls that fail, or during which the process is killed: a clear error, and a correct cache.

strace strikes forks that fetch, at their first call of a name, at their second, and so on. `VERTEBRA_FAULT_RUNS` says
how many of all these cases are tried (6 if it is not set); from 200 on it is all of them.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "6"))
ALL = RUNS >= 200
OPENING = "EIO EDQUOT ENOSPC EROFS EMFILE EINTR EACCES"
NAMING = "EIO EDQUOT ENOSPC EROFS EINTR EACCES"
REMOVING = "EIO EROFS EINTR EACCES"
WRITING = "EIO EDQUOT ENOSPC EROFS EINTR"
CHANGES = {
    **dict.fromkeys(["open", "openat"], OPENING),
    **dict.fromkeys(["write", "fsync", "fdatasync", "ftruncate"], WRITING),
    **dict.fromkeys(["rename", "renameat", "renameat2", "mkdir", "mkdirat"], NAMING),
    **dict.fromkeys(["chmod", "fchmod", "fchmodat", "unlink", "unlinkat", "rmdir"], REMOVING),
}
"""Calls by which a process changes a file system, and how they fail."""
LASTING = ("EIO", "EMFILE")
"""Errors that may also stay once they are there."""
OTHERS = "close", "flock", "fstatfs", "getdents64", "newfstatat", "read", "readlink", "stat", "statfs", "statx"
"""Calls that fail with EIO."""
SAID = {
    **dict.fromkeys(["EDQUOT", "ENOSPC"], "the disk is full"),
    **dict.fromkeys(["EACCES", "EROFS"], "it is not writable"),
}
"""What the cache says of an error, if it is not the system's own words."""
SCENARIOS = {"alone": {}, "after others": {"begun": True}, "in threads": {"begun": True, "threads": True}}

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


@pytest.fixture(scope="module")
def fetch(strace, tmp_path_factory):
    """Returns a function that fetches with faults, and returns what came of it."""
    tmp_path = tmp_path_factory.mktemp("fetches")
    environment = os.environ | {"VERTEBRA_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    helper = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("system_calls.py"))],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def fetch_with(calls, fault="", **scenario):
        helper.stdin.write(json.dumps({"calls": calls, "fault": fault} | scenario) + "\n")
        helper.stdin.flush()
        return json.loads(helper.stdout.readline())

    yield fetch_with
    helper.communicate()


def moments(fetch, names, scenario):
    """Returns all calls of some names that a fetch makes, each as its name and number."""
    calls = fetch(",".join(f"?{name}" for name in names), **scenario)["calls"]
    return [(name, number) for name in names for number in range(1, calls.get(name, 0) + 1)]


def some(cases, count):
    """Returns so many cases, evenly spread, or all."""
    return cases if ALL else cases[:: max(len(cases) // count, 1)]


def problems_of(outcome, expected):
    """Returns the damage after a fetch with a fault, whether the fetch failed or not."""
    found = {} if expected(outcome["first"]) else {"first": outcome["first"]}
    if not (outcome["offline"] == "fetched" or outcome["offline"].startswith("OfflineError: ")):
        found["offline"] = outcome["offline"]
    if outcome["again"] != "fetched":
        found["again"] = outcome["again"]
    return found | {key: outcome[key] for key in ("damages", "left") if outcome[key]}


def is_told(error, first):
    """Says whether a fetch has succeeded, or a typed error tells which error of the system there was."""
    said = SAID.get(error) or os.strerror(getattr(errno, error))
    return first == "fetched" or (first.startswith("CacheError: ") and said in first)


@each_scenario
def test_a_call_that_fails_does_no_harm_and_is_told_by_a_typed_error(fetch, scenario):
    """CA-05."""
    cases = [
        (name, error, f"{number}{lasting}")
        for name, number in moments(fetch, [*CHANGES, *OTHERS], scenario)
        for error in CHANGES.get(name, "EIO").split()
        for lasting in ("", "+")[: 1 + (name in CHANGES and error in LASTING)]
    ]
    problems, struck = [], 0
    chosen = some(cases, RUNS)
    for name, error, when in chosen:
        outcome = fetch(name, f"error={error}:when={when}", **scenario)
        struck += outcome["struck"]
        found = problems_of(outcome, lambda first, error=error: is_told(error, first))
        problems += [f"{name} {error} {when}: {found}"] if found else []
    print(f"{struck} of {len(chosen)} fetches were struck, {len(problems)} with problems")
    assert not problems, "\n".join(problems)
    assert struck > len(chosen) // 2
    assert struck == len(chosen) or "threads" in scenario  # which thread makes which call is not always the same


@each_scenario
def test_a_process_killed_at_any_call_leaves_nothing_wrong(fetch, scenario):
    """NW-02: absent or complete, whichever call is the last; a tenth of them in short."""
    cases = moments(fetch, [*CHANGES, "flock"], scenario)
    chosen = some(cases, len(cases) // 10)
    problems, killed = [], 0
    for name, number in chosen:
        outcome = fetch(name, f"signal=KILL:when={number}", **scenario)
        killed += outcome["struck"]
        found = problems_of(outcome, lambda first: first in ("fetched", "ended by SIGKILL"))
        problems += [f"{name} {number}: {found}"] if found else []
    print(f"{killed} of {len(chosen)} fetches were killed, {len(problems)} with problems")
    assert not problems, "\n".join(problems)
    assert len(cases) > (50 if "threads" in scenario else 120)
    assert killed > len(chosen) // 2
    assert killed == len(chosen) or "threads" in scenario
