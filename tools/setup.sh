#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Set up the lab on Debian 12 or a system like it: .venv, then system packages.  Safe to repeat.
set -e
cd "$(dirname "$0")/.."

# Run commands (one text) as root: at once where that needs no password, else after asking.
# Status 3: there is no way to, or the user does not want to.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		sh -c "$1"
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		sudo -n sh -c "$1"
	elif command -v sudo >/dev/null && [ -t 0 ]; then
		printf 'setup: run as root, with sudo: %s? [Y/n] ' "$1"
		read -r answer
		case "$answer" in
		[nN]*) return 3 ;;
		esac
		sudo sh -c "$1" || return 1
	else
		return 3
	fi
}

install_packages() {
	[ $# -gt 0 ] || return 0
	echo "setup: needed Debian packages: $*"
	command="apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $*"
	as_root "$command" || {
		[ $? != 3 ] || echo "setup: stopped; as root, run: $command" >&2
		[ ! -e "$stamp" ] || echo "setup: $works" >&2
		exit 3
	}
}

# An image may have all packages and no package lists, by which the lab finds kernel sources.
update_lists() {
	command -v apt-cache >/dev/null || return 0
	case "$(apt-cache policy linux-source-6.12)" in
	*"Candidate: "[!\(]*) return 0 ;;
	esac
	# Another distribution may have no such package: it is not asked at every start.
	[ ! -e "$lists" ] || ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || return 0
	echo "setup: apt knows no linux-source-6.12; bringing its package lists up to date"
	as_root "apt-get update -q" ||
		echo "setup: as root, run apt-get update, or the lab finds no Debian kernels" >&2
	touch "$lists"
}

hands=                 # "new": completion is to be installed
stamp=.venv/.lab-setup # .venv holds what the lock names
lists=.venv/.lab-lists # apt's lists were asked for
works="what needs no kernel works without them: .venv/bin/lab plan, list, report, compare;
setup: .venv/bin/lab doctor tells what each one is for"

if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
	install_packages python3 python3-venv
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
	echo "setup: python3 is older than 3.11, which the lab needs" >&2
	exit 3
}

# This comes first: whoever may install no packages gets as far as `lab plan`.
if [ ! -e "$stamp" ] || [ requirements.lock -nt "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
	rm -f "$stamp"
	python3 -m venv .venv
	pip=".venv/bin/python -m pip --quiet --disable-pip-version-check"
	# What the lock names, by its hashes, and nothing that would have to be built.
	$pip install --require-hashes --only-binary :all: --requirement requirements.lock
	# The lab itself, from this folder, by the setuptools of the lock.
	$pip install --no-deps --no-build-isolation --editable .
	hands=new
	touch "$stamp"
fi

# The table of what the lab needs of the host is orchestrator/host/tools.py.
install_packages $(python3 orchestrator/host/tools.py --missing)
update_lists

# For this user's shells; a file that cannot be written is no reason to stop.  The scripts ask the
# lab, so they stay right when it changes.
if [ -n "$hands" ] && [ -x .venv/bin/lab ]; then
	for shell in bash zsh fish; do
		! command -v $shell >/dev/null || .venv/bin/lab completion $shell --install || true
	done
fi
# man(1) looks beside each folder of PATH: in one place where .venv/bin is there, in the other where
# ~/.local/bin is.
for share in .venv/share ${HOME:+"${XDG_DATA_HOME:-$HOME/.local/share}"}; do
	page=$share/man/man1/lab.1
	[ -e docs/lab.1 ] && ! cmp -s docs/lab.1 "$page" || continue
	{ mkdir -p "${page%/*}" && cp docs/lab.1 "$page" && echo "setup: wrote $page"; } || true
done
# The shells that complete, what renders the man page, and b4 are no needs of the lab: CI's tests
# ask them, elsewhere those of the tests are left out that lack theirs.
if [ -n "${CI:-}" ]; then
	asked=
	for program in zsh fish groff b4; do
		command -v $program >/dev/null || asked="$asked $program"
	done
	[ -z "$asked" ] ||
		as_root "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends$asked" ||
		echo "setup: without$asked some tests are left out" >&2
fi
