# boot.sh UPPER KEPT CGROUP: boots a systemd of its own, and ends it when standard input ends, however
# whoever holds the other end of that came to die. Everything is in namespaces of their own: the root
# is an overlay of ours (writes go to UPPER, in memory), and of the real one nothing is writable but
# KEPT, which is seen as /rig and survives a reboot, with the state directory in it.
set -eu
trap '' HUP INT TERM
upper=$1 kept=$2 cgroup=$3
mount --make-rprivate /

# A cgroup of its own, to be removed: the namespace that it is entered for begins there.
mkdir -p "$upper/cgroup" "$upper/root"
mount -t cgroup2 none "$upper/cgroup"
mkdir "$upper/cgroup/$cgroup"

(
echo 0 >"$upper/cgroup/$cgroup/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --pid --mount --cgroup --uts --ipc --fork --kill-child sh -euc '
mount -t tmpfs none "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" none "$0/root"
cd "$0/root"
mkdir -p rig old var/lib/jobguard var/log/journal
mount --bind "$1" rig
mount --bind rig/state var/lib/jobguard
mount --bind rig/journal var/log/journal

# What its units would do to the kernel that is ours, too, or is no use here.
for unit in systemd-sysctl systemd-modules-load systemd-binfmt systemd-remount-fs systemd-udevd \
    systemd-udev-trigger systemd-hwdb-update systemd-tmpfiles-setup-dev systemd-firstboot \
    systemd-machine-id-commit systemd-random-seed systemd-pstore modprobe@; do
    ln -sfn /dev/null "etc/systemd/system/$unit.service"
done
for unit in dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \
    systemd-journald-audit.socket; do
    ln -sfn /dev/null "etc/systemd/system/$unit"
done
rm -rf etc/systemd/system/*.wants
cp -a rig/units/. etc/systemd/system/
for program in rig/bin/*; do ln -sf "/$program" usr/bin/; done

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t cgroup2 none sys/fs/cgroup
pivot_root . old
umount -l old
cd /
exec env -i container=nspawn PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
' "$upper/root" "$kept"
) </dev/null 2>"$upper/said" &
machine=$!
echo "$machine"

# Until the test lets go, or is no more.
read -r _ || :
# PID 1 itself: it is reaped when everybody else of its namespace is, and then `unshare` ends.
kill -KILL $(cat "/proc/$machine/task/$machine/children") 2>/dev/null || :
wait "$machine" || :
grep -v 'sigprocmask unblock failed' "$upper/said" >&2 || : # what unshare says of a killed child
find "$upper/cgroup/$cgroup" -depth -type d -exec rmdir {} +
echo gone
