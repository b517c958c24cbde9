"""Builds the documentation site: python docs/site/build.py [--serve]; the result is in build/site/html."""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from links import check_rendered
from staging import BUILD, config, stage

DOCSTRINGS = "griffe: "
"""The start of lines about docstrings that cannot be parsed; Zensical goes on after them."""


def main() -> int:
    """Copies the pages, fills in the generated parts, and builds strictly: a broken link or anchor is an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve the site on this machine instead")
    serve = parser.parse_args().serve
    stage()
    file = BUILD / "zensical.toml"
    file.write_text(config(), encoding="utf-8")
    zensical = [sys.executable, "-m", "zensical"]
    if serve:
        return subprocess.run([*zensical, "serve", "-f", str(file)], check=False).returncode
    build = [*zensical, "build", "--strict", "--clean", "-f", str(file)]
    done = subprocess.run(build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    sys.stdout.write(done.stdout)
    if done.returncode:
        return done.returncode
    problems = [line for line in done.stdout.splitlines() if line.startswith(DOCSTRINGS)]
    problems += check_rendered(BUILD / "html")
    sys.stdout.write("".join(f"error: {problem}\n" for problem in problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
