#!/usr/bin/env bash
# The first process of a machine: lays its file systems and becomes systemd.
#
#   machine_inside.sh FOLDER SOURCE=TARGET…    FOLDER has etc, var and console
#
# Its namespaces are its own already (tests/lab/machine.py). Each SOURCE is seen at
# TARGET, read-only. Says on standard output which process it is outside.
set -euo pipefail

folder=$1
shift
read -r outside _ </proc/self/stat
echo "$outside"

root=$folder/root
mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir usr etc var proc sys dev run tmp
see() { # SOURCE TARGET
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}
see /usr usr
for name in bin sbin lib lib32 lib64; do
    if [ -L "/$name" ]; then ln -s "usr/$name" "$name"; elif [ -d "/$name" ]; then see "/$name" "$name"; fi
done
for pair in "$@"; do
    see "${pair%%=*}" "$root${pair#*=}"
done
mount --bind "$folder/etc" etc
mount --bind "$folder/var" var
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -o remount,bind,ro sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/shm dev/pts dev/mqueue
mount -t tmpfs -o mode=1777 tmpfs dev/shm
touch dev/console
mount --bind "$folder/console" dev/console
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
# What systemd mounts for a unit reaches it by propagation.
mount --make-rshared "$root"
ip link set lo up
exec env -i container=machine PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" /lib/systemd/systemd --log-target=journal
