"""Runs a command without a network: in its own network namespace, which has only the loopback device.

    python tests/offline.py COUNT command ...

runs the command there, exits as the command does, and writes into the file COUNT how often something in it tried to
send beyond this machine. The kernel counts the attempts, because each lacks a route. Nothing is sent anywhere.
"""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

UNSHARE = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])


@functools.cache
def unshare() -> tuple[str, ...]:
    """The command that makes such a namespace here, as root or in a user namespace; empty if neither is possible."""
    if shutil.which("unshare") and shutil.which("ip"):
        for command in UNSHARE:
            if subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
                return tuple(command)
    return ()


def command(counted: Path) -> list[str]:
    """The words to put before a command; none if namespaces are not permitted. counted: the file to write."""
    return [*unshare(), sys.executable, __file__, str(counted)] if unshare() else []


def unroutable() -> int:
    """Number of IPv4 and IPv6 packets without a route in this namespace so far; a refused `connect` counts as one."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip: ")]
    found = dict(zip(*lines, strict=True))
    six = Path("/proc/net/snmp6")
    found |= dict(line.split() for line in six.read_text().splitlines()) if six.exists() else {}
    return int(found["OutNoRoutes"]) + int(found.get("Ip6OutNoRoutes", 0))


def main() -> None:
    counted, *rest = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    before = unroutable()
    done = subprocess.run(rest)
    Path(counted).write_text(f"{unroutable() - before}\n")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
