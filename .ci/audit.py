"""Audits the packages of an environment for known vulnerabilities with pip-audit, and says what was not audited.

    python .ci/audit.py PIP_AUDIT SITE_PACKAGES [--osv-url URL]

pip-audit exits with 0 for packages about which its service does not answer, and with 1 both for an advisory and
without a network. So this program first asks each service about a release with known vulnerabilities. A service that
knows none of them is not used; if no service can be used, nothing is audited, which is said and is no failure. The exit
status is 1 if an advisory is about an installed package.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CONTROL = "urllib3==1.24.1"
"""A release with several advisories since 2019."""
SERVICES = ("pypi", "osv")
SECONDS = 10
"""How long a service may take for one answer."""
MOST_SECONDS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description="Audits the packages of an environment.")
    parser.add_argument("pip_audit", type=Path)
    parser.add_argument("site_packages", type=Path)
    parser.add_argument("--osv-url", help="asks only this service, of OSV's kind")
    parser.add_argument("--ignore", action="append", default=[], help="an advisory that does not concern Vertebra")
    options = parser.parse_args()
    if not options.pip_audit.exists():
        return not_done("pip-audit is not installed")
    services = [["-s", "osv", "--osv-url", options.osv_url]] if options.osv_url else [["-s", name] for name in SERVICES]
    service = next((service for service in services if answers(options.pip_audit, service)), None)
    if service is None:
        return not_done("no advisory service answers")
    ignored = [part for name in options.ignore for part in ("--ignore-vuln", name)]
    found = audit(options.pip_audit, [*service, "--skip-editable", "--path", str(options.site_packages), *ignored])
    return not_done("the advisory service stopped answering") if found is None else report(found)


def not_done(reason: str) -> int:
    print(f"AUDIT NOT DONE: {reason}. Run make audit again where the network allows it.")
    return 0


def answers(pip_audit: Path, service: list[str]) -> bool:
    """Returns whether a service knows the vulnerabilities of a release that has some."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(CONTROL)
        found = audit(pip_audit, [*service, "--no-deps", "--disable-pip", "-r", str(requirements)])
    return bool(found and any(package.get("vulns") for package in found))


def audit(pip_audit: Path, arguments: list[str]) -> list[dict[str, Any]] | None:
    """Returns what pip-audit says of each package, or None if it fails."""
    command = [str(pip_audit), "-f", "json", "--progress-spinner", "off", "--timeout", str(SECONDS), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
        return list(json.loads(done.stdout)["dependencies"])
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError):
        return None


def report(packages: list[dict[str, Any]]) -> int:
    """Prints the advisories and the packages that were not audited; returns the exit status."""
    advisories = [(package, advisory) for package in packages for advisory in package.get("vulns", ())]
    for package, advisory in advisories:
        fixed = ", ".join(advisory.get("fix_versions") or ()) or "no release"
        print(f"ADVISORY: {package['name']} {package['version']}: {advisory['id']}; corrected in {fixed}")
    skipped = [package for package in packages if "skip_reason" in package]
    for package in skipped:
        if "editable" not in package["skip_reason"]:  # Vertebra's own distributions
            print(f"not audited: {package['name']}: {package['skip_reason']}")
    print(f"{len(packages) - len(skipped)} packages audited, {len(advisories)} advisories")
    return 1 if advisories else 0


if __name__ == "__main__":
    sys.exit(main())
