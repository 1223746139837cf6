"""The command line as a whole; what each verb does is tested in its room."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tool_loading import ROOT

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
FORMATS = ("coco", "voc", "masks", "labelme", "yolo")


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


@pytest.mark.parametrize("verb", ["predict", *map("data {}".format, FORMATS)])
def test_the_limit_of_large_pictures_is_in_the_help(verb):
    from cosal_d2.utils.size_limit import LIMIT_VARIABLE, MAX_MEGAPIXELS  # not light

    text = " ".join(VERBS[f"cosal {verb}"].format_help().split())
    assert f"over {MAX_MEGAPIXELS:g} megapixels" in text and LIMIT_VARIABLE in text


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


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("predict --input no --output out", "--input no: no such picture"),
        ("predict --input no --output out --config-file no.yaml", "no config file 'no.yaml'"),
        ("bulk no out", "no: no such picture"),
        ("serve --opts MODEL.WEIGHTS no.pth", "no weights at no.pth"),
        ("serve --port 99999", "--port 99999: give 0 to 65535"),
        ("train --config-file no.yaml", "no config file 'no.yaml'"),
        ("train --config-file cosal_r50.yaml MODEL.WEIGHTS no.pth", "no weights at no.pth"),
        ("evaluate --dataset no.json --maps a=. --out out", "--dataset no.json: no such file"),
        ("evaluate --dataset . --maps a=no --out out", "--maps a=no: no such folder"),
        ("report --evaluation no --out a.html", "--evaluation no: no such folder"),
        ("export --output no/a.onnx", "no/a.onnx: no such folder"),
        ("export --output a.onnx --int8 no", "--int8 no: no such picture"),
        ("export --output folder.onnx", "folder.onnx: is a folder; give another name"),
        ("paper table2 --dataset no.json", "--dataset no.json: no such file"),
        ("data coco --json no.json --images no --out out --name a", "no: no such folder"),
    ],
)
def test_a_wrong_path_is_named_before_anything_heavy_is_imported(tmp_path, line, words):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from cosal_d2.cli import main\n"
        "print(main(sys.argv[1].split()), {'torch', 'detectron2'} & set(sys.modules))\n"
    )
    (tmp_path / "folder.onnx").mkdir()
    command = [sys.executable, "-c", code, line, *sys.path]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "1 set()\n"
    assert run.stderr.startswith("cosal: error: ") and words in run.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("visualize_data.py --config-file no.yaml --out out", "no config file 'no.yaml'"),
        ("benchmark.py infer --config-file no.yaml", "no config file 'no.yaml'"),
        ("masks_from_boxes.py --json no.json --images no", "no: no such folder"),
        ("export_model.py --output no/a.onnx", "no/a.onnx: no such folder"),
    ],
)
def test_tools_name_a_wrong_path_before_anything_heavy_is_imported(tmp_path, line, words):
    command = [sys.executable, "-X", "importtime", ROOT / "tools" / line.split()[0]]
    run = subprocess.run(
        [*command, *line.split()[1:]], cwd=tmp_path, capture_output=True, text=True
    )
    told = [text for text in run.stderr.splitlines() if not text.startswith("import time:")]
    assert run.returncode == 1 and words in told[-1]
    assert not re.search(r"\| +(torch|detectron2)$", run.stderr, re.M)


def test_a_resumed_training_needs_no_first_weights(monkeypatch):
    called = []
    monkeypatch.setattr("cosal_d2.engine.launch.launch", called.append)
    line = "train --config-file cosal_r50.yaml --resume MODEL.WEIGHTS no.pth"
    assert main(line.split()) == 0 and len(called) == 1
