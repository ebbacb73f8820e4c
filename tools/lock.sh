#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Renew requirements.lock: the newest releases within pyproject.toml's bounds, with the hashes of all
# their files, for every Python from 3.11 on and for both kinds of host at once.
set -e
cd "$(dirname "$0")/.."

python3 -m venv .venv-lock
.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'
uv=.venv-lock/bin/uv

# The build backend is installed from the lock too: setup.sh builds without isolation.
python3 -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print("\n".join(tomllib.load(file)["build-system"]["requires"]))' |
	"$uv" pip compile --quiet --no-config --universal --python-version 3.11 --upgrade \
		--generate-hashes --extra dev --custom-compile-command 'make lock' \
		--output-file requirements.lock pyproject.toml - >/dev/null

# setup.sh takes wheels only, so each must be there wherever the lab runs.
for python in 3.11 3.12 3.13 3.14; do
	for machine in x86_64 aarch64; do
		"$uv" pip install --quiet --no-config --dry-run --target .venv-lock/none \
			--python-version "$python" --python-platform "$machine-manylinux_2_28" \
			--require-hashes --only-binary :all: --requirement requirements.lock || {
			echo "lock: no set of wheels for Python $python on $machine" >&2
			exit 1
		}
	done
done
echo "lock: requirements.lock has wheels for Python 3.11 to 3.14 on x86_64 and aarch64;"
echo "lock: see what changed (git diff --stat, git diff -I hash), then make test"
