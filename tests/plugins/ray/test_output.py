"""The standard output belongs to the command while Ray runs."""

import sys
import threading

from vertebra_ray.output import own_stdout


def test_what_other_threads_print_goes_to_stderr(capsys):
    with own_stdout():
        thread = threading.Thread(target=lambda: print("of Ray", file=sys.stdout))
        thread.start()
        thread.join()
        print("of the command", flush=True)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("of the command\n", "of Ray\n")
