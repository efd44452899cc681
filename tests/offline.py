"""A command without a network: in a network namespace of its own, in which there is nothing but the loopback device.

    python tests/offline.py COUNT command ...

runs the command there, ends as it does, and writes into the file COUNT how often something in it wanted to send beyond
this machine. The kernel counts these: every attempt has no route. Nothing is sent anywhere.
"""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

UNSHARE = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])


@functools.cache
def unshare() -> tuple[str, ...]:
    """How this machine lets us make such a namespace, as root or in a namespace of users; nothing if it does not."""
    if shutil.which("unshare") and shutil.which("ip"):
        for command in UNSHARE:
            if subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
                return tuple(command)
    return ()


def command(counted: Path) -> list[str]:
    """What to put before a command; nothing where namespaces are not permitted. counted: the file to be written."""
    return [*unshare(), sys.executable, __file__, str(counted)] if unshare() else []


def unroutable() -> int:
    """Packets, IPv4 and 6, that had no route in this namespace since it was made; a refused `connect` is one."""
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
