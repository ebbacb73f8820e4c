#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Start one program of the kernel's own selftests, with the set-up that its collection's table asks
# for:  run.sh FOLDER [-s LINE]... [-a LINE]... -- PROGRAM [ARGUMENT...]
#
# Each LINE is run by this shell, of -s before the program and of -a behind it, whose exit status
# counts then unless a line sets `status`.  They may use the functions below, which are what
# run_vmtests.sh of the kernel (tools/testing/selftests/mm, v6.12) does around its programs.  What cannot be set up is
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

# tries COUNT [TEXT]: so often until it passes, for a test that does not wait for what it asserts; with
# TEXT only where it said that.  What it said when it failed is told as comments.
tries() {
	left=$1
	said=${2:-}
}

# special_purpose: where the kernel was told to leave memory alone (mem=), the addresses of two pieces of
# 256 MiB of it, behind the memory that it has, as further arguments: what test_hmm.sh calls SPM.
special_purpose() {
	grep -qE '(^| )mem=[0-9]' /proc/cmdline || return 0
	end=$(busybox awk '/ : System RAM$/ { split($1, range, "-"); end = range[2] } END { print end }' /proc/iomem)
	further="$(printf '0x%x 0x%x' $((0x$end + 1)) $((0x$end + 1 + 0x10000000)))"
}

# vmalloc_results: what test_vmalloc told the kernel log alone; its script ends with status 0 always
# (lib/test_vmalloc.c, v6.12: a line for each test and worker).  A worker's failures fail the test.
vmalloc_results() {
	dmesg | busybox awk '
		sub(/.*Summary: /, "") && $2 == "passed:" && $4 == "failed:" {
			if (!($1 in failed)) order[++tests] = $1
			failed[$1] += $5
		}
		END {
			print "TAP version 13\n1.." tests + 0
			for (i = 1; i <= tests; i++) {
				name = order[i]
				if (failed[name]) print "not ok", i, name, "# rounds that failed: " failed[name]
				else print "ok", i, name
			}
			exit !tests
		}' && return
	say "test_vmalloc told no results"
	status=1
}

# gup_matrix: gup_test in every way that `run_vmtests.sh -a` has (its run_gup_matrix): kinds of pages,
# kinds of pins, for reading or writing, private or shared, one page at a time or many.
gup_matrix() {
	echo 'TAP version 13'
	number=0
	for pages in '-t' '-T' '-H -m 256'; do
		for pin in -u -U -a -b -L; do
			for write in -w -W; do
				for shared in '' -S; do
					for many in 1 512 123; do
						words="$pages $pin $write${shared:+ $shared} -n $many"
						number=$((number + 1))
						# shellcheck disable=SC2086 # words they are
						./gup_test $words </dev/null >/tmp/gup 2>&1
						one=$?
						case $one in
						0) echo "ok $number gup_test $words" ;;
						4) echo "ok $number gup_test $words # SKIP" ;;
						*)
							sed 's/^/# /' /tmp/gup
							echo "not ok $number gup_test $words # exit status $one"
							status=1
							;;
						esac
					done
				done
			done
		done
	done
	echo "1..$number"
}

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
after=
while [ "$1" = -s ] || [ "$1" = -a ]; do
	if [ "$1" = -s ]; then
		eval "$2"
	else
		after="$after
$2"
	fi
	shift 2
done
[ "$1" = -- ] && shift
# shellcheck disable=SC2086 # words they are
set -- "$@" ${further:-}
if [ -n "$nobody" ]; then
	python3 -c "$become_nobody" "$@" </dev/null 2>&1
else
	while [ "${left:-1}" -gt 1 ]; do
		"$@" </dev/null >/tmp/said 2>&1
		failed=$?
		[ "$failed" -ne 0 ] || break
		[ -z "$said" ] || grep -qF -e "$said" /tmp/said || break
		say "it failed, and is tried again; it said:"
		sed 's/^/# | /' /tmp/said # no results of this run
		left=$((left - 1))
	done
	if [ "${left:-1}" -gt 1 ]; then
		cat /tmp/said
		(exit "$failed")
	else
		"$@" </dev/null 2>&1
	fi
fi
status=$?
eval "$after"
exit "$status"
