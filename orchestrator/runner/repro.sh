#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Boots the kernel that lies beside this script in QEMU, runs what failed on it, and looks whether it
# fails again.  Needs QEMU (@PROGRAM@) and ssh, and no lab.  README tells what failed.
#
# usage: repro.sh [FOLDER]
#   FOLDER gets the console's log and what the workload printed; without it: last/ beside this script.
#
# Exit status: 1 it fails again, 0 it does not, 2 wrong usage, 3 this machine could not tell,
# 130 interrupted.
set -u

BOOT_LIMIT=@BOOT_LIMIT@ # seconds up to the login
RUN_LIMIT=@RUN_LIMIT@ # seconds for the workload in a guest that boots in FAST_BOOT seconds
FAST_BOOT=@FAST_BOOT@
WORKLOAD=@WORKLOAD@ # empty: the boot itself is what failed
TOKEN=repro

tell() { printf 'repro: %s\n' "$*"; }
die() {
	tell "$@" >&2
	exit 3
}

# The guest.  It reaches nothing; its SSH server is reached on a port of 127.0.0.1.  A guest that
# resets, which is what a panic does, ends QEMU.
guest() {
	exec timeout -k 5 "$total" \
@QEMU@
}

in_guest() { # SECONDS COMMAND
	timeout -k 5 "$1" ssh -F ssh.conf guest "$2"
}

boot() {
	: >"$last/console.log"
	guest >qemu.log 2>&1 </dev/null &
	qemu=$!
	began=$(date +%s)
	while ! grep -aqF 'lab: guest ready' "$last/console.log"; do
		passed=$(($(date +%s) - began))
		alive || return 1
		[ "$passed" -le "$BOOT_LIMIT" ] || return 2
		sleep 0.2
	done
	passed=$(($(date +%s) - began))
	[ "$passed" -gt 0 ] || passed=1
}

alive() { [ -n "$qemu" ] && kill -0 "$qemu" 2>/dev/null; }

# shellcheck disable=SC2317 # called by a trap
clean() {
	trap '' INT TERM HUP
	if alive; then
		kill "$qemu"
		wait "$qemu"
	fi 2>/dev/null
	cd / && rm -rf -- "$work"
}

sign() {
	tell "fails again: $1"
	failed=1
}

# What the kernel printed that it must not print, in whatever state the guest is.
look_at_console() {
	if [ -s "$here/expected/console" ] &&
		grep -aE -f "$here/expected/console" "$last/console.log" >seen; then
		sign 'the kernel reports'
		sed 's/^/    /' seen | head -n 20
	fi
	grep -aqF 'Kernel panic - not syncing' "$last/console.log" && sign 'the kernel panicked'
	return 0
}

end() {
	tell "console and output: $last"
	if [ "$failed" = 1 ]; then
		exit 1
	fi
	if [ -n "${1-}" ]; then
		die "cannot tell: $1"
	fi
	tell 'did not fail again'
	exit 0
}

case "${1-}" in
-*)
	sed -n 's/^# \{0,1\}//; 3,10p' "$0"
	[ "$1" = -h ] || [ "$1" = --help ] || exit 2
	exit 0
	;;
esac
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P) || exit 3
for tool in @PROGRAM@ ssh timeout; do
	command -v "$tool" >/dev/null 2>&1 || die "$tool is missing"
done
@KVM@
last=${1:-$here/last}
mkdir -p -- "$last" 2>/dev/null
{ : >"$last/console.log"; } 2>/dev/null || die "cannot write to $last: name a FOLDER"
last=$(CDPATH='' cd -- "$last" && pwd -P) || exit 3
qemu='' failed=0 total=$((BOOT_LIMIT + RUN_LIMIT * BOOT_LIMIT / FAST_BOOT + 600))
work=$(mktemp -d "${TMPDIR:-/tmp}/repro.XXXXXX") || die 'no room for temporary files: set TMPDIR'
trap clean EXIT
trap 'exit 130' INT
trap 'exit 130' TERM HUP
cd -- "$work" || exit 3
for file in image root.ext2 seed.tar known_hosts; do
	ln -s -- "$here/$file" "$file" || die "cannot write to $work"
done
ln -s -- "$last/console.log" console.log
(umask 077 && cat "$here/id_ed25519" >key) || die 'id_ed25519 is missing'
@SWAP@
tell 'what failed:'
sed 's/^/    /' "$here/expected/reasons"

# A port that is taken ends QEMU at once: try another.
try=0
while :; do
	port=$((20000 + ($$ * 13 + try * 7919) % 40000))
	boot
	booted=$?
	try=$((try + 1))
	[ "$booted" = 1 ] || break
	[ "$try" -lt 20 ] || break
	grep -q 'host forwarding' qemu.log || break
done
if [ "$booted" != 0 ]; then
	look_at_console
	[ -s "$last/console.log" ] || die "QEMU does not start: $(head -n 3 qemu.log)"
	[ "$booted" = 1 ] || [ -n "$WORKLOAD" ] || sign "no login within $BOOT_LIMIT s"
	[ -n "$WORKLOAD" ] || [ "$failed" = 1 ] || sign 'the guest went away while it booted'
	end "the guest did not boot: $(tail -n 1 qemu.log)"
fi
tell "booted in $passed s"

cat >ssh.conf <<END
Host guest
	HostName 127.0.0.1
	Port $port
	User root
	HostKeyAlias lab-guest
	IdentityFile key
	UserKnownHostsFile known_hosts
	GlobalKnownHostsFile /dev/null
	StrictHostKeyChecking yes
	IdentitiesOnly yes
	IdentityAgent none
	BatchMode yes
	LogLevel ERROR
	ConnectTimeout 60
END
slow=$(((passed + FAST_BOOT - 1) / FAST_BOOT))
in_guest $((30 * slow)) true </dev/null || {
	look_at_console
	end 'the guest takes no login'
}
if [ -z "$WORKLOAD" ]; then
	look_at_console
	end
fi
if [ -e "$here/@MODULES@" ]; then
	into=@MODULES_FOLDER@
	in_guest $((60 * slow)) "busybox mount -t tmpfs tmpfs $into && busybox tar xJf - -C $into &&
		busybox depmod -a" <"$here/@MODULES@" || die 'the guest does not take its modules'
fi

(cd -- "$here/workload" && tar cf - .) |
	in_guest $((60 * slow)) 'mkdir -p /tmp/lab && busybox tar xf - -C /tmp/lab' ||
	die 'the guest does not take the workload'

# The sampler takes the end of its standard input for the end of the session: keep it open.
mkfifo hold
exec 3<>hold
limit=$((RUN_LIMIT * slow))
tell "running $WORKLOAD, for $limit s at most"
timeout -k 5 "$limit" ssh -F ssh.conf guest @COMMAND@ \
	>"$last/output" 2>"$last/samples" <&3 &
wait $!
status=$?
cat "$last/output"
tries=0
while ! grep -aqF "lab-mark $TOKEN end" "$last/console.log" && alive && [ "$tries" -lt 50 ]; do
	sleep 0.2
	tries=$((tries + 1))
done

look_at_console
if ! alive && [ "$failed" = 0 ]; then
	if [ -s qemu.log ]; then
		end "QEMU died: $(tail -n 1 qemu.log)"
	fi
	sign 'the guest reset itself'
fi
[ "$status" = 124 ] && sign "still running after $limit s"
grep -aE '^[[:space:]]*not ok ' "$last/output" | grep -avE '# *(SKIP|TODO|XFAIL)' >seen &&
	sign "$(wc -l <seen) failed cases"
@LEDGER@
case $status in
0 | 4 | 124) ;;
255) alive && [ "$failed" = 0 ] && end 'the connection to the guest broke' ;;
*) [ "$failed" = 1 ] || sign "the workload ended with status $status" ;;
esac
if ! grep -aqE '^[[:space:]]*(not )?ok ' "$last/output"; then
	end 'the workload printed no case'
fi
@JUDGED@
end
