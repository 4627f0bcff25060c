"""The command `span-distill`."""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pipeline.__main__ import GROUPS, PACKAGE, docstring, main, overview, parser
from pipeline.commands import arguments

COMMANDS = sorted(name for names in GROUPS.values() for name in names)


def test_every_command_is_in_a_group_and_has_arguments():
    assert [path.stem for path in sorted((PACKAGE / "commands").glob("[!_]*.py"))] == sorted([*COMMANDS, "arguments"])
    assert all(callable(getattr(arguments, name)) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_line_in_the_overview_and_its_own_help(name, capsys):
    summary = re.search(rf"^  {name} +(.+)$", overview(), re.MULTILINE)
    assert summary and len(summary[0]) <= 80 and docstring(name).startswith(f"{name}: {summary[1]}\n")
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args([name, "--help"])
    assert summary[1] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_arguments_of_a_command_are_those_of_its_main(name):
    required = {"export": ["student"], "page": ["export"], "publish": ["out"], "serve": ["student"]}
    required["answers"] = ["large"]
    lines = {"cache": ["list", "verify", "prune --all"]}.get(name, [""])
    given = set()
    for line in lines:
        given |= vars(parser().parse_args([name, *required.get(name, []), *line.split()])).keys() - {"name"}
    signature = inspect.signature(importlib.import_module(f"pipeline.commands.{name}").main).parameters
    named = {key for key, parameter in signature.items() if parameter.kind is not parameter.VAR_KEYWORD}
    assert named == given if len(named) == len(signature) else named < given


@pytest.mark.slow
def test_nothing_heavy_is_imported_before_the_arguments_are_read():
    code = (
        "import sys; from pipeline.__main__ import parser; parser().parse_args(['show']);"
        "sys.exit(' '.join({'torch', 'transformers', 'dvc', 'pandas', 'numpy', 'pyarrow'} & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=True)


def test_the_command_of_one_checkout_does_not_run_in_another(tmp_path, monkeypatch):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__main__.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=re.escape(str(PACKAGE.parent))):
        main()


def test_all_packages_and_web_files_are_installed():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {str(path.parent.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("__init__.py")}
    assert set(settings["packages"]) == {folder.replace("/", ".") for folder in folders}
    kinds = {path.suffix for path in PACKAGE.rglob("*") if path.is_file()} - {".py", ".pyc"}
    assert {Path(pattern).suffix for pattern in settings["package-data"]["*"]} == kinds
