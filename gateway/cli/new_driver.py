"""``gateway new-driver NAME``: a driver package that works before you have touched it.

It writes a folder with a driver, its board in Python, a simulator, a test with the
contract of all drivers, a README and what pip needs. The texts are in
``driver_template``. Refused: a name that is no plain lower-case identifier or that a
driver or another package has already, and a folder that exists.
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
from pathlib import Path
from string import Template

SUMMARY = "write a driver package with simulator and tests"

EPILOG = """\
examples:
  gateway new-driver lamp                 writes ./lamp
  gateway new-driver lamp --folder ~/src  writes ~/src/lamp
  cd lamp && pytest                       it passes at once; change it, and keep it so

exit status: 0 written, 1 refused: the line on standard error says why
"""

TEMPLATES = Path(__file__).parent / "driver_template"

FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "conftest.py": "conftest.py",
    "test_contract.py": "test_contract.py",
    "{package}/__init__.py": "package_init",
    "{package}/driver.py": "driver.py",
    "{package}/board.py": "board.py",
    "{package}/simulator.py": "simulator.py",
}
"""What is written, and the template it is made of."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="NAME", help="of the driver, such as wind_sensor")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where to write the package (here)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the package and say what to do next."""
    written = write(arguments.name, arguments.folder)
    if arguments.json:
        print(json.dumps({"folder": str(written), "package": package_of(arguments.name)}))
    else:
        print(NEXT.substitute(folder=written, name=arguments.name, **_words(arguments.name)))
    return 0


NEXT = Template("""\
$folder is a driver package. Next:

  pytest $folder
      it keeps the contract of all drivers; keep it so while you change it
  pip install --editable $folder
      now the gateway finds the driver $name
  python -m $package.simulator --link /tmp/$name
      plugs a simulated board in; in another terminal, with this in gateway.toml:

      [routes.serial]

      [devices.$name]
      driver = "$name"
      route = "serial"
      port = "/tmp/$name"

      gateway run -c gateway.toml

Then make $folder/$package/driver.py yours: docs/write_a_driver.md goes through it.""")


def write(name: str, folder: Path) -> Path:
    """Write the package of the driver ``name`` into ``folder``; return its own folder.

    Raises `RefusedError` where it may not; nothing is written then.
    """
    from gateway.errors import RefusedError

    _check_name(name)
    if not folder.is_dir():
        raise RefusedError(f"there is no folder {folder} to write the package into: make it first")
    target = folder / name
    if target.exists():
        raise RefusedError(f"{target} exists already: choose another name or --folder")
    words = _words(name)
    for path, source in FILES.items():
        template = Template((TEMPLATES / f"{source}.template").read_text(encoding="utf-8"))
        file = target / path.format(package=words["package"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(template.substitute(words, name=name), encoding="utf-8")
    return target


def package_of(name: str) -> str:
    """Return the import name of the package that holds the driver ``name``.

    >>> package_of("wind_sensor")
    'wind_sensor_driver'
    """
    return f"{name}_driver"


def _words(name: str) -> dict[str, str]:
    """Return what the templates put in for ``$package``, ``$kind`` and ``$dashed``."""
    kind = "".join(word.capitalize() for word in name.split("_"))
    return {"package": package_of(name), "kind": kind, "dashed": name.replace("_", "-")}


def _check_name(name: str) -> None:
    """Raise `RefusedError` where no new driver can have this ``name``."""
    from importlib.util import find_spec

    from gateway import plugins
    from gateway.errors import RefusedError

    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name.endswith("_"):
        raise RefusedError(
            f"{name!r} is no name for a driver: lower-case letters, digits and _, "
            "such as wind_sensor"
        )
    if name in plugins.names(plugins.DRIVERS):
        raise RefusedError(f"a driver {name!r} is installed already: choose another name")
    if find_spec(package_of(name)) is not None:
        raise RefusedError(
            f"a Python package {package_of(name)!r} is installed already: choose another name"
        )
