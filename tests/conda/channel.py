"""Makes a conda channel in a folder from a local Python: python, pip, and a python newer than any.

python: the program, its shared library and the standard library, without tests and without what C programs are built
with; system libraries come from the machine. pip: the one of the Python that runs this, as a noarch package. The newer
python is empty: if a solver ignores `python =3.11`, there is no Python.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from importlib.metadata import distribution
from pathlib import Path

FACTS = """
import json, platform, sys, sysconfig
facts = {"prefix": sys.base_prefix, "library": sysconfig.get_path("stdlib"), "version": platform.python_version()}
print(json.dumps(sysconfig.get_config_vars() | facts))
"""
LEFT_OUT = re.compile("(site|dist)-packages|tests?|ensurepip|idlelib|__pycache__|config-.*")
NEWER = "3.99.0"


class Package:
    """An archive, written on leaving the `with` block."""

    def __init__(self, channel: Path, name: str, version: str, subdir: str = "linux-64", **index) -> None:
        index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": [], **index}
        file = channel / subdir / f"{name}-{version}-0.tar.bz2"
        file.parent.mkdir(parents=True, exist_ok=True)
        self.archive = tarfile.open(file, "w:bz2", compresslevel=1)  # noqa: SIM115
        self.paths = []
        self.write("info/index.json", json.dumps(index | {"subdir": subdir}).encode())

    def __enter__(self) -> "Package":
        return self

    def __exit__(self, *_) -> None:
        self.write("info/paths.json", json.dumps({"paths": self.paths, "paths_version": 1}).encode())
        self.write("info/files", "".join(f"{path['_path']}\n" for path in self.paths).encode())
        self.archive.close()

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        self.archive.addfile(member, io.BytesIO(content))

    def add(self, name: str, content: bytes, mode: int = 0o644, prefix: str | None = None) -> None:
        """Adds a file of the environment. prefix: text in it that installation replaces by the environment's path."""
        self.write(name, content, mode)
        path = {"_path": name, "path_type": "hardlink", "size_in_bytes": len(content)}
        path["sha256"] = hashlib.sha256(content).hexdigest()
        self.paths.append(path | ({"prefix_placeholder": prefix, "file_mode": "text"} if prefix else {}))

    def link(self, name: str, target: str) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, target
        self.archive.addfile(member)
        self.paths.append({"_path": name, "path_type": "softlink", "sha256": hashlib.sha256(b"").hexdigest()})


def python(channel: Path, command: Path) -> None:
    """The program finds the standard library relative to itself, and libpython by a path that is changed here."""
    facts = json.loads(subprocess.check_output([command, "-c", FACTS]))
    library = Path(facts["library"])
    name = f"python{'.'.join(facts['version'].split('.')[:2])}"
    where = f"{facts['LIBDIR']}\0".encode()
    beside = b"$ORIGIN/../lib\0".ljust(len(where), b"\0")
    with Package(channel, "python", facts["version"]) as package:
        program = command.resolve().read_bytes()
        assert where not in program or len(beside) == len(where), f"{command}: no room for another path of libpython"
        package.add(f"bin/{name}", program.replace(where, beside), 0o755)
        package.link("bin/python3", name)
        package.link("bin/python", name)
        if facts["Py_ENABLE_SHARED"]:
            package.add(f"lib/{facts['INSTSONAME']}", Path(facts["LIBDIR"], facts["INSTSONAME"]).read_bytes(), 0o755)
        for folder, folders, files in os.walk(library):
            folders[:] = [inner for inner in sorted(folders) if not LEFT_OUT.fullmatch(inner)]
            for file in (Path(folder, file) for file in sorted(files)):
                built_for = facts["prefix"] if file.name.startswith("_sysconfigdata") else None
                package.add(f"lib/{name}/{file.relative_to(library)}", file.read_bytes(), prefix=built_for)


def pip(channel: Path) -> None:
    """As on conda-forge: files for any Python's site-packages, and a program that the installer writes."""
    ours = distribution("pip")
    with Package(channel, "pip", ours.version, "noarch", noarch="python", depends=["python >=3.9"]) as package:
        for file in ours.files:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                package.add(f"site-packages/{file}", file.locate().read_bytes())
        link = {"type": "python", "entry_points": ["pip = pip._internal.cli.main:main"]}
        package.write("info/link.json", json.dumps({"noarch": link, "package_metadata_version": 1}).encode())


def index(folder: Path) -> None:
    """Writes what the folder's packages declare, for the solver."""
    packages = {}
    for file in sorted(folder.glob("*.tar.bz2")):
        with tarfile.open(file) as archive:
            own = json.load(archive.extractfile(archive.next()))
        content = file.read_bytes()
        sums = {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}
        packages[file.name] = own | sums | {"size": len(content)}
    said = {"info": {"subdir": folder.name}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
    (folder / "repodata.json").write_text(json.dumps(said), encoding="utf-8")


def make(channel: Path, command: Path) -> None:
    """Makes the channel. command: the Python that the package python is made from."""
    python(channel, command)
    pip(channel)
    with Package(channel, "python", NEWER):
        pass
    for folder in channel.iterdir():
        index(folder)
