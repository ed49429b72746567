"""Completion scripts, made from the parser."""

from __future__ import annotations

import argparse

_BASH = """\
_edgeai() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="${{COMP_WORDS[1]}}"
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case "$command $before" in
{values}
    esac
    case "$command" in
{options}
    esac
}}
complete -o default -F _edgeai edgeai
"""

#: zsh speaks bash's completions once its own are there, which not every configuration has.
_ZSH = """\
(( $+functions[compdef] )) || { autoload -U compinit && compinit -u }
autoload -U +X bashcompinit && bashcompinit
"""


def script_for(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for ``bash``, ``zsh`` or ``fish``."""
    if shell == "fish":
        return _fish(parser)
    bash = _bash(parser)
    return bash if shell == "bash" else _ZSH + bash


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _bash(parser: argparse.ArgumentParser) -> str:
    values, options = [], []
    for name, command in _commands(parser).items():
        words: list[str] = []
        for action in command._actions:
            words += action.option_strings or [str(choice) for choice in action.choices or ()]
            if action.option_strings and action.choices:
                cases = "|".join(f'"{name} {option}"' for option in action.option_strings)
                chosen = " ".join(str(choice) for choice in action.choices)
                values.append(f'        {cases}) COMPREPLY=($(compgen -W "{chosen}" -- "$word")); return ;;')
        options.append(f'        {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")) ;;')
    return _BASH.format(commands=" ".join(_commands(parser)), values="\n".join(values), options="\n".join(options))


def _fish(parser: argparse.ArgumentParser) -> str:
    lines = []
    for name, command in _commands(parser).items():
        lines.append(
            f"complete -c edgeai -f -n __fish_use_subcommand -a {name} -d {_quoted(command.description or name)}"
        )
        for action in command._actions:
            here = f"complete -c edgeai -n '__fish_seen_subcommand_from {name}'"
            chosen = " ".join(str(choice) for choice in action.choices or ())
            for option in action.option_strings:
                if option.startswith("--"):
                    takes = f" -x -a '{chosen}'" if chosen else "" if action.nargs == 0 else " -r"
                    lines.append(f"{here} -l {option[2:]}{takes} -d {_quoted(action.help or '')}")
            if not action.option_strings and chosen:
                lines.append(f"{here} -a '{chosen}'")
    return "\n".join(lines) + "\n"


def _quoted(words: str) -> str:
    return "'" + words.replace("\\", "\\\\").replace("'", "\\'") + "'"
