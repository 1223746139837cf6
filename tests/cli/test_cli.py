"""The command line as a whole; what each verb does is tested in its room."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cosal_d2 import __version__
from cosal_d2.cli import build_parser, main


def verbs(
    parser: argparse.ArgumentParser, name: str = "cosal"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each verb's full name and its parser."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for verb, child in group.choices.items():
            yield from verbs(child, f"{name} {verb}")


VERBS = dict(verbs(build_parser()))


@pytest.mark.parametrize("name", VERBS)
def test_each_verbs_help_has_examples_that_parse(name):
    epilog = VERBS[name].epilog or ""
    examples = [line.strip() for line in epilog.splitlines() if line.startswith("  cosal ")]
    assert examples
    for example in examples:
        assert example.startswith(f"{name} ")
        build_parser().parse_args(shlex.split(example)[1:])


@pytest.mark.parametrize("name", VERBS)
def test_each_option_of_each_verb_is_explained(name):
    options = VERBS[name]._actions
    assert [a.dest for a in options if not a.help] == []
    assert name in VERBS[name].format_help()


def test_every_help_is_light(tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_cli import VERBS\n"
        "print(len(''.join(parser.format_help() for parser in VERBS.values())) > 1000)\n"
        "print(sorted({'torch', 'detectron2', 'numpy', 'cv2', 'PIL'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, *sys.path]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["True", "[]"]


def test_help_of_the_command_names_the_verbs(tmp_path):
    command = [sys.executable, "-c", "import cosal_d2.cli; cosal_d2.cli.main(['--help'])"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "usage: cosal " in run.stdout and "predict" in run.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"cosal_d2 {__version__}\n"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("a.json: no field"), 1, "cosal: error: a.json: no field\n"),
        (FileNotFoundError("a.json: none"), 1, "cosal: error: a.json: none\n"),
        (KeyboardInterrupt(), 130, "cosal: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_a_status(monkeypatch, capsys, error, status, message):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("cosal_d2.inference.sources.find_pictures", fail)
    assert main(["predict", "--input", "x.png", "--output", "out"]) == status
    assert capsys.readouterr().err == message
