#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Lint and unit tests with the newest releases, in .venv-latest: each package that pyproject.toml
# names without its upper bound.  What libraries ask of each other still holds.  Neither .venv nor
# requirements.lock is touched.  PYTHON=python3.13 tries another Python, of 3.11 or newer.
set -e
cd "$(dirname "$0")/.."

venv=.venv-latest
"${PYTHON:-python3}" -m venv --clear "$venv"
"$venv/bin/python" - >"$venv/wanted.txt" <<'EOF'
import re, tomllib

with open("pyproject.toml", "rb") as file:
    data = tomllib.load(file)
project = data["project"]
named = project["dependencies"] + project["optional-dependencies"]["dev"]
for requirement in named + data["build-system"]["requires"]:
    print(re.sub(r",<[\w.]+", "", requirement))
EOF
pip="$venv/bin/python -m pip --disable-pip-version-check"
$pip install --quiet --upgrade --requirement "$venv/wanted.txt"
$pip install --quiet --no-deps --no-build-isolation --editable .

echo "latest: lint and unit tests with $("$venv/bin/python" --version) and the newest releases."
$pip freeze --all --exclude-editable | "$venv/bin/python" -c '
import re, sys

def pins(lines):
    found = {}
    for line in lines:
        pin = re.match(r"([\w.-]+)==([^\s;]+)", line)
        if pin:
            found.setdefault(re.sub(r"[-_.]+", "-", pin[1]).lower(), []).append(pin[2])
    return found

locked = pins(open("requirements.lock"))
others = 0
for name, (version,) in sorted(pins(sys.stdin).items()):
    if name != "pip" and version not in locked.get(name, []):
        others += 1
        print("latest:   {} {}, locked: {}".format(name, version, *locked.get(name, ["nothing"])))
print(f"latest: {others} versions are not those of requirements.lock.")'

status=0
"$venv/bin/ruff" check . || status=1
"$venv/bin/ruff" format --check . || status=1
"$venv/bin/mypy" || status=1
"$venv/bin/python" -m pytest -q -m 'not guest' || status=1
[ $status = 0 ] || echo "latest: something failed above" >&2
exit $status
