"""The container file: what it copies, runs and starts."""

import json
import re
import shlex
from pathlib import Path

from cosal_d2.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
LINES = [line.split(" ", 1) for line in TEXT.splitlines() if re.match("[A-Z]+ ", line)]


def values(key):
    return [value for name, value in LINES if name == key]


def test_it_starts_the_page_as_a_user_and_looks_whether_it_answers():
    assert values("USER") == ["cosal"]
    (command,) = values("CMD")
    words = shlex.split(json.loads(command)[-1].replace("${DEVICE}", "cuda"))
    assert words[:2] == ["exec", "cosal"]
    options = build_parser().parse_args(words[2:])
    assert (options.host, options.device) == ("0.0.0.0", "cuda")
    assert values("EXPOSE") == [str(options.port)]
    (check,) = values("HEALTHCHECK")
    assert f"http://127.0.0.1:{options.port}/health" in check
    compile(json.loads(check[check.index("[") :])[-1], "HEALTHCHECK", "exec")


def test_it_installs_what_is_here_from_the_package_index_alone():
    assert {"DEVICE=cpu", "EXTRAS=web", "TORCH_INDEX="} == set(values("ARG"))
    runs = " ".join(values("RUN"))
    assert "--index-url" not in runs and "http" not in runs
    for path in re.findall(r"[\w/]+\.(?:txt|py)", runs):
        assert (ROOT / path).exists()
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ".git" in ignored and ".venv" in ignored
    assert not {"cosal_d2", "configs", "tools", "README.md"} & set(ignored)
