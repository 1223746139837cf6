"""What the documents name: command lines that parse; tools, linked files and Python that exist."""

import re
import shlex
from pathlib import Path

import pytest
from tool_loading import load_tool

from cosal_d2.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "datasets" / "README.md")
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Command lines of the code blocks, indented or fenced, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", text)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [*"".join(fenced).splitlines(), *re.findall(r"^ {4}(.*)$", text, re.MULTILINE)]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [re.sub(r"^(\w+=\S+ )*(\S*/)?(?=cosal )", "", part) for part in parts]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_cosal_command_is_one(name):
    for command in commands(read(name)):
        if command.startswith("cosal "):
            words = shlex.split(command, comments=True)[1:]
            words = ["1" if word == "N" else word for word in words]  # N stands for a number
            try:
                build_parser().parse_args(words)
            except SystemExit as stop:
                assert stop.code == 0, f"{name}: {command}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_command_of_a_tool_is_one(name):
    for command in commands(read(name)):
        found = re.fullmatch(
            r"(?:\S*python )(tools/(?:benchmark|visualize_data)\.py) (.*)", command
        )
        if found:
            try:
                load_tool(found[1]).build_parser().parse_args(shlex.split(found[2]))
            except SystemExit as stop:
                assert stop.code == 0, f"{name}: {command}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_named_script_and_config_exists(name):
    paths = re.findall(r"\b((?:tools|configs|datasets)/[\w/-]+\.(?:py|yaml))\b", read(name))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_linked_file_exists(name):
    links = re.findall(r"\]\(([^)#\s]+)", read(name))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (ROOT / name).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_python_imports_exists(name):
    lines = re.findall(
        r"^ *(from cosal_d2\S* import \w[\w, ]*|import cosal_d2\S*)", read(name), re.M
    )
    for line in lines:
        exec(line, {})
