"""Mail waits in the folder of the sockets: where that is no memory, it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.main import main
from gateway.cli.memory_folder import file_system_of, remark_on

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:21 / /run rw,nosuid,nodev shared:2 - tmpfs tmpfs rw,size=100k
24 22 0:40 / /mnt/my\040card rw - vfat /dev/sda1 rw
25 23 0:41 / /run rw - ramfs over rw
torn line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/gateway", "ext4"),
        ("/run/gateway", "ramfs"),
        ("/runny", "ext4"),
        ("/mnt/my card/x", "vfat"),
    ],
)
def test_the_deepest_mount_counts_and_the_last_of_two(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), TABLE) == kind


def test_only_what_is_no_memory_is_worth_a_word(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert remark_on("/run/gateway", table) == ""
    assert "lies on ext4, which is no memory file system" in remark_on("/srv/x", table)
    assert remark_on("/srv/x", tmp_path / "absent") == ""


def test_gateway_check_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nsockets = "/proc"\n')
    assert main(["check", str(file)]) == 0
    assert "mind: sockets = '/proc' lies on proc" in capsys.readouterr().err
    assert main(["check", str(file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert len(report["remarks"]) == 1
