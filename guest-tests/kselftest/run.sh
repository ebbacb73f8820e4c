#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Start one program of the kernel's own selftests, with the set-up that its collection's table asks
# for:  run.sh FOLDER [-s LINE]... -- PROGRAM [ARGUMENT...]
#
# Each LINE is run by this shell and may use the functions below; they are what run_vmtests.sh of
# the kernel (tools/testing/selftests/mm, v6.12) does around its programs.  What cannot be set up is
# told and does not end the test: whether it can do without is for the program to say.
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
shift

say() {
	echo "# lab: $*"
}

# put VALUE FILE: write a sysctl or a sysfs file.
put() {
	{ echo "$1" >"$2"; } 2>/dev/null || say "cannot write $1 to $2"
}

value_of() {
	busybox awk -v key="$1:" '$1 == key { print $2; exit }' /proc/meminfo
}

# hugepages MIB: that much memory in free huge pages of the default size, or as much as there is;
# at least LEAST pages where a second argument says so.
hugepages() {
	size=$(value_of Hugepagesize)
	if [ -z "$size" ]; then
		say "the kernel has no huge pages"
		return
	fi
	wanted=$((($1 * 1024 + size - 1) / size))
	[ "$wanted" -ge "${2:-0}" ] || wanted=$2
	nr=/proc/sys/vm/nr_hugepages
	tries=3
	while [ "$(value_of HugePages_Free)" -lt "$wanted" ] && [ "$tries" -gt 0 ]; do
		put 3 /proc/sys/vm/drop_caches
		put 1 /proc/sys/vm/compact_memory
		put $(($(cat $nr) + wanted - $(value_of HugePages_Free))) $nr
		tries=$((tries - 1))
	done
	free=$(value_of HugePages_Free)
	[ "$free" -ge "$wanted" ] || say "$free of $wanted huge pages of $size kB"
}

# pages COUNT: exactly so many huge pages of the default size.
pages() {
	put "$1" /proc/sys/vm/nr_hugepages
	[ "$(value_of HugePages_Total)" = "$1" ] || say "no $1 huge pages"
}

# each COUNT: so many huge pages of every size, but for those that a small guest has no room for.
each() {
	for pool in /sys/kernel/mm/hugepages/hugepages-*kB; do
		[ -d "$pool" ] || continue
		size=${pool##*-}
		size=${size%kB}
		[ $((size * $1)) -gt 262144 ] || put "$1" "$pool/nr_hugepages"
	done
}

# as_nobody: without root's rights, for what is to be stopped by a limit.
as_nobody() {
	nobody=yes
}
become_nobody='import os, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.execv(sys.argv[1], sys.argv[1:])'

# Scripts expect a full system's commands; the guest has one program for all of them.
commands=/tmp/lab/commands
if [ ! -d $commands ]; then
	mkdir -p $commands
	busybox --install -s $commands
fi
PATH=$PATH:$commands
export PATH
nobody=
ulimit -c 0
cd "$here/$folder" || exit 127
while [ "$1" = -s ]; do
	eval "$2"
	shift 2
done
[ "$1" = -- ] && shift
if [ -n "$nobody" ]; then
	python3 -c "$become_nobody" "$@" </dev/null 2>&1
else
	"$@" </dev/null 2>&1
fi
