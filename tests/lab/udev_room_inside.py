"""The program that runs inside: ``FOLDER test|daemon PATH ACTION NODES``.

It has namespaces of its own already (`tests.lab.udev_room`); here it lays the recorded
sysfs over /sys, and empty file systems over /run and /dev, then lets udev work.
"""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

UDEVD = "/lib/systemd/systemd-udevd"
ENVIRONMENT = {**os.environ, "SYSTEMD_DEVICE_VERIFY_SYSFS": "0", "SYSTEMD_LOG_LEVEL": "debug"}
RULES = "/etc/udev/rules.d"


def main(folder: str, what: str, path: str, action: str, nodes: str) -> int:
    for place in ("/run", "/dev"):
        mount("-t", "tmpfs", "tmpfs", place)
    os.mknod("/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    numbers: dict[str, tuple[int, int]] = json.loads(nodes)
    for name, (major, minor) in numbers.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(name, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
    # Opened now: once /sys is covered, every way there leads into the recorded one.
    uevents = {
        path.parent.name: os.open(path, os.O_WRONLY)
        for path in Path("/sys/class/tty").glob("*/uevent")
        if what == "daemon" and f"/dev/{path.parent.name}" in numbers
    }
    os.makedirs("/run/udev")
    os.makedirs(RULES, exist_ok=True)
    mount("--bind", f"{folder}/rules", RULES)
    mount("--bind", f"{folder}/sys", "/sys")
    if what == "test":
        print(json.dumps(tested(f"/sys/{path.lstrip('/')}", action, numbers)))
    else:
        serve(numbers, uevents)
    return 0


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, stdin=subprocess.DEVNULL)


def tested(path: str, action: str, numbers: dict[str, tuple[int, int]]) -> dict[str, object]:
    done = subprocess.run(
        ["udevadm", "test", f"--action={action}", path],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    properties = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    node = properties.get("DEVNAME", "")
    return {"is_settled": True, **state_of(node), "log": done.stderr, "properties": properties}


def serve(numbers: dict[str, tuple[int, int]], uevents: dict[str, int]) -> None:
    """Run udevd until standard input ends; answer each line.

    A node is answered with its state; ``add ttyS0`` has the kernel say that, by way of
    ``uevents``, files of the machine's own /sys.
    """
    log = open("/run/udevd.log", "w")  # noqa: SIM115  the daemon's, as long as it runs
    daemon = subprocess.Popen(
        [UDEVD], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        while not os.path.exists("/run/udev/control"):
            time.sleep(0.01)
            assert daemon.poll() is None, Path("/run/udevd.log").read_text()
        for line in sys.stdin:
            node = line.strip()
            state: dict[str, object] = {}
            action, _, tty = node.partition(" ")
            if tty:
                os.write(uevents[tty], action.encode())
            elif node in numbers:
                time.sleep(0.02)
                major, minor = numbers[node]
                # In this order: what is read of a device once its link is there and udevd has
                # nothing left to do is all there.
                links, is_settled = links_of(node), not os.path.exists("/run/udev/queue")
                state = {
                    **state_of(node),
                    "links": links,
                    "is_settled": is_settled,
                    "properties": database(major, minor),
                    "log": Path("/run/udevd.log").read_text(),
                }
            print(json.dumps(state), flush=True)
    finally:
        daemon.terminate()
        daemon.wait(20)
        log.close()


def database(major: int, minor: int) -> dict[str, str]:
    """Return the properties that udevd has written down for a device."""
    try:
        lines = Path(f"/run/udev/data/c{major}:{minor}").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line[2:].split("=", 1) for line in lines if line.startswith("E:"))


def state_of(node: str) -> dict[str, object]:
    if not node:
        return {"links": [], "mode": 0, "group": ""}
    about = os.stat(node)
    return {
        "links": links_of(node),
        "mode": stat.S_IMODE(about.st_mode),
        "group": grp.getgrgid(about.st_gid).gr_name,
    }


def links_of(node: str) -> list[str]:
    links = (
        str(path)
        for path in Path("/dev").rglob("*")
        if path.is_symlink() and os.path.realpath(path) == node
    )
    return sorted(link for link in links if not link.startswith("/dev/char/"))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
