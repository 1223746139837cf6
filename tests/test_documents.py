"""Commands in the documents: in code blocks, of tools and options that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    p.relative_to(ROOT).as_posix()
    for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "datasets" / "README.md")
)
SHARED_OPTIONS = {"--config-file", "--resume", "--eval-only", "--num-gpus"}  # Detectron2's parser


def commands(text):
    """Commands of the indented code blocks, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.strip() for line in joined.splitlines() if re.match(r" {4}\S*python \S", line)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_stand_in_code_blocks(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(".venv/bin/")] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_shown_tools_have_the_shown_options(name):
    for command in commands((ROOT / name).read_text(encoding="utf-8")):
        script = re.search(r"python (?:-m )?(\S+)", command)[1]
        if not script.startswith(("tools/", "datasets/")):
            continue
        files = (ROOT / script, *(ROOT / "cosal_d2").rglob("*.py"))
        source = "".join(path.read_text(encoding="utf-8") for path in files)
        for option in set(re.findall(r"(?<!\S)--[a-z][a-z-]*", command)) - SHARED_OPTIONS:
            assert f'"{option}"' in source, f"{name}: {command}"
