#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Set up the lab on Debian 12 or a system like it: system packages, then .venv.  Safe to repeat.
set -e
cd "$(dirname "$0")/.."

install_packages() {
	[ $# -gt 0 ] || return 0
	echo "setup: needed Debian packages: $*"
	command="apt-get install -y --no-install-recommends $*"
	if [ "$(id -u)" = 0 ]; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -q && $command
	elif command -v sudo >/dev/null && [ -t 0 ]; then
		printf 'setup: run "sudo %s"? [Y/n] ' "$command"
		read -r answer
		case "$answer" in
		[nN]*) echo "setup: stopped; nothing was installed" >&2; exit 3 ;;
		esac
		sudo apt-get update -q
		sudo $command
	else
		echo "setup: as root, run: apt-get update && $command" >&2
		exit 3
	fi
}

if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
	install_packages python3 python3-venv
fi
# The table of what the lab needs of the host is orchestrator/hosttools.py.
install_packages $(python3 orchestrator/hosttools.py --missing)

stamp=.venv/.lab-setup
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch "$stamp"
fi
