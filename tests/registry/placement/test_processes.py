"""Steps that processes take together, and facts on which they agree: by a runtime whose processes are threads."""

import threading
import time

import pytest

from vertebra._configuration import settings as module
from vertebra._configuration.changing import set_in_file, value_of
from vertebra._configuration.settings import Settings
from vertebra._placement.agreement import Fact, agree, versions
from vertebra._placement.processes import Group, Steps
from vertebra.errors import MeshError, SettingsError


class Threads:
    """The methods of a runtime for the processes of a mesh, which are threads."""

    name = "numpy"

    def __init__(self, count):
        self.count, self.sent, self.changed = count, {}, threading.Condition()
        self.own = threading.local()

    def process_of(self, mesh):
        return self.own.number, self.count

    def exchange(self, mesh, message, seconds):
        number, turn = mesh
        with self.changed:
            own = self.sent.setdefault(next(turn), {})
            own[number] = message
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: len(own) == self.count, seconds):
                missing = sorted(set(range(self.count)) - own.keys())
                raise TimeoutError(f"no answer from process {missing[0]} within {seconds:g} s")
        return [own[number] for number in range(self.count)]


@pytest.fixture(autouse=True)
def short_time(monkeypatch):
    monkeypatch.setattr("vertebra._placement.processes.settings", lambda: Settings(mesh_timeout=1.0))


def run(count, *works):
    """Runs works in the steps of processes; the last work is that of all further ones. Returns results or errors."""
    runtime, found = Threads(count), [None] * count

    def work(number):
        group = Group(runtime, (number, iter(range(10**6))), number, count)
        try:
            with Steps(group, "test") as steps:
                found[number] = works[min(number, len(works) - 1)](steps)
        except BaseException as error:
            found[number] = error

    threads = [
        threading.Thread(target=work, args=(number,)) for number in range(count) if works[min(number, len(works) - 1)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_each_process_gets_the_notes_of_all_at_each_step():
    def work(steps):
        return [steps.reach(f"step {turn}", f"{steps.group.number}.{turn}") for turn in range(5)]

    expected = [[f"{number}.{turn}" for number in range(3)] for turn in range(5)]
    assert run(3, work) == [expected] * 3


def test_a_slow_process_is_waited_for():
    def slow(steps):
        time.sleep(1.5)  # longer than a process may be silent
        return steps.reach("late", "slow")

    assert run(2, slow, lambda steps: steps.reach("late", "quick")) == [["slow", "quick"]] * 2


def test_a_process_that_never_comes_is_an_error_in_time():
    begun = time.monotonic()
    _, error = run(2, None, lambda steps: steps.reach("step"))
    assert time.monotonic() - begun < 1.2
    assert isinstance(error, MeshError)
    assert "no answer from process 0" in str(error)
    assert "VERTEBRA_MESH_TIMEOUT" in str(error)
    assert isinstance(error.__cause__, TimeoutError)


def test_an_error_of_one_process_is_an_error_of_all():
    def failing(steps):
        steps.reach("one")
        raise OSError("broken")

    one, *others = run(3, failing, lambda steps: [steps.reach("one"), steps.reach("two")])
    assert isinstance(one, OSError)
    for error in others:
        assert isinstance(error, MeshError)
        assert "process 0 of 3 could not test: OSError: broken" in str(error)


def test_processes_at_different_steps_are_an_error():
    errors = run(2, lambda steps: steps.reach("one"), lambda steps: steps.reach("two"))
    assert all("at different steps, one, two" in str(error) for error in errors)


def test_a_process_alone_waits_for_none():
    with Steps(None, "test") as steps:
        assert (steps.count, steps.is_first, steps.reach("step", "note")) == (1, True, ["note"])
        agree(steps, {"fact": 1})


def test_a_mesh_of_one_process_is_no_group():
    runtime = Threads(1)
    runtime.own.number = 0
    assert Group.of(runtime, object()) is None
    assert Group.of(runtime, None) is None


def test_the_message_says_which_processes_differ():
    def work(steps):
        number = steps.group.number
        own = {"size": 5 if number == 3 else 4, "same": "x"}
        agree(steps, own | ({"extra": [1]} if number < 2 else {}))

    errors = run(5, work)
    expected = "differ in size: 5 on process 3, 4 on process 0–2, 4; in extra: [1] on process 0–1, none on process 2–4"
    assert all(isinstance(error, MeshError) and expected in str(error) for error in errors), errors


def test_a_fact_may_be_shown_in_other_words():
    def work(steps):
        agree(steps, {"path": Fact("equal", f"/path/{steps.group.number}")})
        agree(steps, {"path": Fact(str(steps.group.number), f"/path/{steps.group.number}")})

    assert all("/path/1 on process 1, /path/0 on process 0" in str(error) for error in run(2, work))


def test_objects_are_compared_without_their_addresses():
    assert run(2, lambda steps: agree(steps, {"object": object()})) == [None, None]


def test_versions_of_all_plugins_are_facts():
    found = versions("numpy")
    assert {"the version of vertebra", "the version of numpy", "the version of vertebra-bert"} <= found.keys()


def test_the_time_is_a_setting():
    assert module.read_settings({"VERTEBRA_MESH_TIMEOUT": "2.5"}).mesh_timeout == 2.5
    assert module.Settings().mesh_timeout == 30


@pytest.mark.parametrize(
    ("text", "problem"), [("soon", "is not a number"), ("0", "number above 0"), ("inf", "above 0")]
)
def test_a_time_that_is_no_number_above_0_is_an_error(text, problem):
    with pytest.raises(SettingsError, match=problem):
        module.read_settings({"VERTEBRA_MESH_TIMEOUT": text})


def test_the_command_writes_the_time(tmp_path):
    path = tmp_path / "config.toml"
    set_in_file(path, "mesh_timeout", value_of("mesh_timeout", ["45"], "the command"))
    assert path.read_text() == "mesh_timeout = 45.0\n"
    assert module.read_settings({"VERTEBRA_CONFIG": str(path)}).mesh_timeout == 45
