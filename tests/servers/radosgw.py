"""The RADOS Gateway of Ceph: a real S3 server on loopback, which keeps everything in memory.

    with RadosGateway() as gateway:
        gateway.create_bucket("models")
        S3Store("models", endpoint=gateway.endpoint, access_key_id=gateway.access_key, …)

Run as a program (`python -m servers.radosgw`), this module starts a gateway in a temporary folder, says in a line of
JSON where it is, and ends it when its own input ends. `RadosGateway` holds the other end of that pipe. So one and the
same way of stopping is taken when a test run ends, when it fails, and when it is killed.

Ceph's daemons are made for clusters; what makes them start within a second here is that the monitor is given a map in
which its only store is already, that changes of maps are not collected for a second, and that there is no manager.
"""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Self

from servers import programs
from servers.programs import DEADLINE

PROGRAMS = ("ceph-mon", "ceph-osd", "osdmaptool", "radosgw", "radosgw-admin")
ACCESS_KEY = "vertebra-tests"
SECRET_KEY = "no-secret"


# === The side of the tests ===


def missing() -> str | None:
    """Why no gateway can be started here, or None if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed: see tests/servers/install_radosgw.sh" if absent else None


class RadosGateway:
    """A gateway that runs while the context lasts.

    `endpoint` is its address; `access_key` and `secret_key` belong to a user who may create buckets.
    """

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "servers.radosgw"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which may still want to talk to the gateway
        )
        line = self._keeper.stdout.readline()
        if not line:
            self.__exit__()
            raise RuntimeError("the gateway did not start; what its daemons said is above")
        self.port = json.loads(line)["port"]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: Any) -> None:
        self._keeper.communicate(timeout=DEADLINE)

    def create_bucket(self, name: str, versioned: bool = False) -> None:
        """Creates a bucket, which no client that is only for objects can do."""
        self.request("PUT", f"/{name}")
        if versioned:
            body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            self.request("PUT", f"/{name}?versioning", body.encode())

    def request(self, method: str, path: str, body: bytes = b"", acl: str | None = None) -> bytes:
        """Sends a request, signed in S3's older and simpler way; returns the body of the response."""
        date = email.utils.formatdate(usegmt=True)
        signed = path.partition("?prefix=")[0]  # which part is listed is not signed
        allowed = {} if acl is None else {"x-amz-acl": acl}
        also = "".join(f"{name}:{text}\n" for name, text in allowed.items())
        text = f"{method}\n\n\n{date}\n{also}{signed}".encode()
        signature = base64.b64encode(hmac.digest(self.secret_key.encode(), text, hashlib.sha1)).decode()
        headers = {"Date": date, "Authorization": f"AWS {self.access_key}:{signature}", **allowed}
        answer, _ = programs.request(self.port, method, path, body, headers)
        return answer

    def put(self, path: str, content: bytes) -> None:
        """Writes an object, as other tools do."""
        self.request("PUT", f"/{path}", content)


# === The process that keeps the daemons ===


CONFIGURATION = """
[global]
fsid = {fsid}
run dir = {folder}
admin socket =
log to file = false
err to stderr = true
keyring = {folder}/keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
paxos propose interval = 0.01
paxos min wait = 0.01
mon allow pool size one = true
mon data avail crit = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = 4294967296
rgw override bucket index max shards = 1
{logs}

[mon.a]
mon data = {folder}/mon
mon addr = v1:127.0.0.1:{mon_port}

[osd.0]
osd data = {folder}/osd

[client.rgw.tests]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw dns name = localhost
"""


LOGS = "auth bluestore client context crush filestore finisher mon monc ms objclass objecter osd paxos rados rgw"
LOGS += " rgw_access rocksdb throttle timer tp"
"""Subsystems that collect lines in memory, for the case of a crash, at a quarter of the time of a request."""


class Keeper:
    """Starts the daemons one after the other, each as a child of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, mon_port = programs.free_ports(2)
        self.configuration = folder / "ceph.conf"
        ports = {"port": self.port, "mon_port": mon_port}
        logs = "\n".join(f"debug {name} = 0/0" for name in LOGS.split())
        text = CONFIGURATION.format(fsid=uuid.uuid4(), folder=folder, logs=logs, **ports)
        self.configuration.write_text(text)
        self.deadline = time.monotonic() + DEADLINE
        self.output = (folder / "output.txt").open("w+", errors="replace")
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Returns once the gateway answers and its user exists."""
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        self._start_monitor()
        self._start_store()
        self._start_gateway()

    def stop(self) -> None:
        """Kills all daemons: they keep nothing that would have to be written."""
        for daemon in self.daemons:
            daemon.kill()
        for daemon in self.daemons:
            daemon.wait()
        self.output.close()

    def said(self) -> str:
        """Returns what the programs have printed."""
        self.output.seek(0)
        return self.output.read()

    def _start_monitor(self) -> None:
        self._run("osdmaptool", "--createsimple", "1", self.folder / "osdmap")
        self._run("ceph-mon", "--mkfs", "--id", "a", "--osdmap", self.folder / "osdmap")
        self._start("ceph-mon", "--id", "a")

    def _start_store(self) -> None:
        self._run("ceph-osd", "--mkfs", "--id", "0")
        self._start("ceph-osd", "--id", "0")

    def _start_gateway(self) -> None:
        user = ("--uid", "tests", "--display-name", "tests", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self._run("radosgw-admin", "user", "create", *user)
        self._start("radosgw", "--name", "client.rgw.tests")
        while not programs.answers(self.port):
            self._check_daemons()
            time.sleep(0.05)

    def _check_daemons(self) -> None:
        for daemon in self.daemons:
            if daemon.poll() is not None:
                raise RuntimeError(f"{daemon.args[0]} ended with status {daemon.returncode}")
        if time.monotonic() > self.deadline:
            raise TimeoutError(f"the gateway does not answer after {DEADLINE:.0f} s")

    def _run(self, program: str, *arguments: str | Path) -> None:
        timeout = self.deadline - time.monotonic()
        subprocess.run([program, *arguments], check=True, timeout=timeout, **self._surroundings())

    def _start(self, program: str, *arguments: str | Path) -> None:
        daemon = subprocess.Popen(
            [program, "-f", *arguments], preexec_fn=programs.die_with_parent, **self._surroundings()
        )
        self.daemons.append(daemon)

    def _surroundings(self) -> dict[str, Any]:
        environment = os.environ | {"CEPH_CONF": str(self.configuration)}
        output = {"stdout": self.output, "stderr": subprocess.STDOUT}
        return {"cwd": self.folder, "env": environment, "stdin": subprocess.DEVNULL, **output}


def main() -> None:
    """Keeps a gateway until the input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="vertebra-radosgw-") as folder:
        keeper = Keeper(Path(folder))
        try:
            keeper.start()
            print(json.dumps({"port": keeper.port}), flush=True)
            sys.stdin.read()
        except Exception as error:
            raise SystemExit(f"{keeper.said()}\n{error}") from error
        finally:
            keeper.stop()


if __name__ == "__main__":
    main()
