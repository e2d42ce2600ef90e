"""docs/cli.md names every command and every option there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from dualface_ray.cli.app import app, execute

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")


def commands():
    """Full name and command object of every command."""

    def below(command, name):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            for key, one in inner.items():
                yield from below(one, f"{name} {key}")

    return dict(below(typer.main.get_command(app), "dualface"))


def section(name: str) -> str:
    """The text below the heading of a command."""
    parts = re.split(r"^## (dualface [a-z ]+?)(?= [A-Z\[]|$).*$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(name, "")


def test_every_command_has_a_section_and_every_section_a_command():
    headings = re.findall(r"^## (dualface [a-z ]+?)(?= [A-Z\[]|$)", PAGE, flags=re.MULTILINE)
    assert sorted(headings) == sorted(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_is_explained(name):
    text = section(name)
    assert text.strip()
    options = {option for param in commands()[name].params for option in (*param.opts, *param.secondary_opts)}
    options = {option for option in options if option.startswith("--")} - {"--help"}
    for option in options:
        assert f"`{option}" in text, f"{name} {option} is not in docs/cli.md"
    assert set(re.findall(r"`(--[a-z-]+)", text.partition("###")[0])) <= options


def test_every_command_introduces_itself():
    for name, command in commands().items():
        assert command.help, name
        for param in command.params:
            assert getattr(param, "help", "x"), f"{name} {param.name}"


@pytest.mark.parametrize("name", ["dualface", "dualface models", "dualface bench", *sorted(commands())])
def test_help_fits_80_columns_and_no_switch_asks_for_a_value(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert execute([*name.split()[1:], "--help"]) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "bool" not in text
    listed = text.partition("\nCommands:\n")[2]
    assert "..." not in listed, "what a command is for is said in full"
