#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# First process of a lab guest.  The root is read-only and shared by all guests; what belongs to
# this one (keys, shape) comes as a tar file on the second disk.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t debugfs debug /sys/kernel/debug 2>/dev/null
$B mount -t cgroup2 cgroup /sys/fs/cgroup 2>/dev/null
for dir in /run /root /tmp /var/tmp /mnt; do $B mount -t tmpfs -o mode=0755 tmpfs $dir; done
$B chmod 1777 /tmp /var/tmp
[ -c /dev/null ] || $B mount -t devtmpfs dev /dev
$B mkdir -p /dev/pts /dev/shm
$B mount -t devpts devpts /dev/pts 2>/dev/null
$B mount -t tmpfs shm /dev/shm
$B mkdir -p /run/seed
$B tar xf /dev/vdb -C /run/seed
$B mkdir -m 700 /root/.ssh
$B cp /run/seed/authorized_keys /root/.ssh/authorized_keys
$B chmod 600 /root/.ssh/authorized_keys /run/seed/hostkey
$B hostname lab
$B ip link set lo up
$B ip addr add 10.0.2.15/24 dev eth0
$B ip link set eth0 up
# The host's time of the boot: without it two guests of an old image would live in 1970.
[ -s /run/seed/now ] && $B date -s "@$($B cat /run/seed/now)" >/dev/null
zram=$($B cat /run/seed/zram_mib)
if [ "$zram" -gt 0 ] && [ -e /sys/block/zram0 ]; then
	echo "${zram}M" >/sys/block/zram0/disksize
	$B mkswap /dev/zram0 >/dev/null && $B swapon /dev/zram0
fi
if [ -b /dev/vdc ]; then
	$B mkswap /dev/vdc >/dev/null && $B swapon /dev/vdc
fi
echo 1 >/proc/sys/kernel/sysrq 2>/dev/null
# Workloads drop the page cache many times; 4 has the kernel not say so each time.
echo 4 >/proc/sys/vm/drop_caches 2>/dev/null
/usr/sbin/dropbear -E -s -m -r /run/seed/hostkey -P /run/dropbear.pid 2>/run/dropbear.log
# With a level that no console is too quiet for.
echo "<1>lab: guest ready" >/dev/kmsg
# Process 1 must outlive everything and reap what is left to it.
while :; do
	$B sleep 3600 &
	wait $!
done
