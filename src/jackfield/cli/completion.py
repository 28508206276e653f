"""`jackfield completion`: the shells' scripts. `completing.py` decides on the candidates."""

from __future__ import annotations

from typing import Annotated

import typer

from ..names import did_you_mean
from .exits import UsageError
from .invocation import Invocation

_BASH = """\
# jackfield: completion for bash. Load it with:  source <(jackfield completion bash)
_jackfield() {
    local IFS=$'\\n'
    COMPREPLY=($(command jackfield __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    # What goes on within the word gets no blank behind it.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _jackfield jackfield 2>/dev/null || complete -F _jackfield jackfield  # before bash 4.4
"""

_ZSH = """\
#compdef jackfield
# jackfield: completion for zsh. Load it with:  source <(jackfield completion zsh)
_jackfield() {
    local line value about
    local -a open openabout done doneabout found
    for line in "${(@f)$(command jackfield __complete zsh "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        [[ $line == ${(Q)PREFIX}* ]] || found=(-U)
        value=${line%%$'\\t'*}
        about=$value
        [[ $line == *$'\\t'* ]] && about="$value  -- ${line#*$'\\t'}"
        if [[ $value == *[=./] ]]; then
            open+=("$value"); openabout+=("$about")
        else
            done+=("$value"); doneabout+=("$about")
        fi
    done
    (( ${#open} )) && compadd $found -V open -S '' -l -d openabout -a open
    (( ${#done} )) && compadd $found -V done -l -d doneabout -a done
    (( ${#open} + ${#done} ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _jackfield "$@"
else
    compdef _jackfield jackfield
fi
"""

_FISH = """\
# jackfield: completion for fish. Load it with:  jackfield completion fish | source
complete -c jackfield -f -k -a '(command jackfield __complete fish (commandline -cp) 2>/dev/null)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("completion")(completion)


def completion(
    context: typer.Context, shell: Annotated[str, typer.Argument(help="Your shell.", metavar="bash|zsh|fish")]
) -> None:
    """Print the completion script of a shell.

    It completes commands, options, servers, tools and their arguments from the catalog, and starts no server.
    """
    if shell not in _SCRIPTS:
        raise UsageError(f"There is no completion for {shell!r}.", hint=did_you_mean(shell, _SCRIPTS, "shell"))
    Invocation.of(context).output.write(_SCRIPTS[shell])
