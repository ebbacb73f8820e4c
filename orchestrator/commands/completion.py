# SPDX-License-Identifier: GPL-2.0-only
"""``lab completion``: the scripts by which bash, zsh and fish ask the lab, and where they belong.

A script runs the command that was typed, in whatever folder it lies, with ``_LAB_COMPLETE`` set;
:mod:`orchestrator.commands.complete` answers.  It hands over the line up to the cursor (COMP_LINE),
and takes a candidate a line, behind a tab what it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from orchestrator.model.errors import EXIT_OK, HostError

_BASH = r"""# Completion of lab for bash 4.4 and newer, from `lab completion bash`.
_lab_complete() {
    local candidate program=$1
    [[ $program != "~/"* ]] || program=$HOME/${program:2}
    COMPREPLY=()
    # bash splits a word at : and =, and puts in only what is behind: $2 is that part.
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <(_LAB_COMPLETE=bash_complete COMP_LINE="${COMP_LINE:0:COMP_POINT}" LAB_WORD="$2" \
        "$program" 2>/dev/null </dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _lab_complete lab
"""

_ZSH = r"""#compdef lab
# Completion of lab for zsh, from `lab completion zsh`.
_lab() {
    local -a whole whole_told begun begun_told
    local candidate told program=${(Q)words[1]}
    [[ $program != '~/'* ]] || program=$HOME/${program#\~/}
    while IFS=$'\t' read -r candidate told; do
        told="$candidate${told:+  -- $told}"
        if [[ $candidate == *[/:=] ]]; then
            begun+=("$candidate") begun_told+=("$told")
        else
            whole+=("$candidate") whole_told+=("$told")
        fi
    done < <(_LAB_COMPLETE=zsh_complete \
        COMP_LINE="${(j: :)words[1,CURRENT-1]} $IPREFIX$PREFIX" $program 2>/dev/null </dev/null)
    (( $#whole + $#begun )) || return 1
    (( ! $#whole )) || compadd -Q -V lab -l -d whole_told -a whole
    (( ! $#begun )) || compadd -Q -V lab-begun -S '' -l -d begun_told -a begun
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _lab "$@"
else
    compdef _lab lab
fi
"""

_FISH = r"""# Completion of lab for fish, from `lab completion fish`.
function __lab_complete
    set -l words (commandline -opc)
    set -lx _LAB_COMPLETE fish_complete
    set -lx COMP_LINE (string join ' ' -- (string escape -- $words) (commandline -ct))" "
    set COMP_LINE (string replace -r ' $' '' -- $COMP_LINE)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    command $program 2>/dev/null </dev/null
end
complete --command lab --erase
complete --command lab --no-files --keep-order --arguments '(__lab_complete)'
"""

#: The script for each shell.
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

#: Where Debian's zsh looks without being told; a user has no such folder.
ZSH_SYSTEM = Path("/usr/local/share/zsh/site-functions")


def place(shell: str, environ: Mapping[str, str], root: bool) -> Path:
    """Where ``shell`` looks for this user's completion of ``lab``.

    zsh looks into folders of the system alone until a user's fpath names another.

    :param root: whether the user is root, who may write to the system's.
    """
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "bash":  # bash-completion(1), "FAQ": where a user's own completions go
        folder = environ.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion"
        return Path(folder) / "completions" / "lab"
    if shell == "fish":  # fish-completions(1), "WHERE TO PUT COMPLETIONS"
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "lab.fish"
    return (ZSH_SYSTEM if root else data / "zsh" / "site-functions") / "_lab"


def completion(shell: str, install: bool) -> int:
    """Print the script for a shell, or put it where that looks.

    :raises HostError: when the file cannot be written.
    """
    if not install:
        click.echo(SCRIPTS[shell], nl=False)
        return EXIT_OK
    path = place(shell, os.environ, os.geteuid() == 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCRIPTS[shell], encoding="ascii")
    except OSError as error:
        raise HostError(
            f"cannot write {path}: {error.strerror}",
            f"`lab completion {shell}` prints what belongs there",
        ) from error
    click.echo(f"wrote {path}; shells started from now on complete lab")
    if shell == "zsh" and path.parent != ZSH_SYSTEM:
        click.echo(f"if not: put fpath+=({path.parent}) before compinit in ~/.zshrc")
    return EXIT_OK
