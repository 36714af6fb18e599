"""Recorded machines: the files of /proc and /sys that the readers read, as they were there."""

from __future__ import annotations

from pathlib import Path

PI_4 = {
    "proc/uptime": "35043.16 128804.42\n",
    "proc/loadavg": "0.52 0.61 0.58 2/198 4021\n",
    "proc/meminfo": (
        "MemTotal:        3882636 kB\nMemFree:         2761472 kB\nMemAvailable:    3235668 kB\n"
        "Buffers:           60908 kB\nCached:           568512 kB\nSwapTotal:        102396 kB\n"
        "SwapFree:         102396 kB\nHugePages_Total:       0\n"
    ),
    "proc/mounts": (
        "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\nproc /proc proc rw 0 0\n"
        "tmpfs /run tmpfs rw,nosuid,nodev,size=388264k 0 0\n"
    ),
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48686\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    "run/systemd/timesync/synchronized": "",
    "var/lib/gateway/kept": "",
    "run/gateway/kept": "",
}
"""A Raspberry Pi 4 whose supply was too weak once."""


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write ``files`` below ``root`` and return that."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
