import re

import pytest
from tool_loading import load_tool


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("ratio", ["whole network / VGG-16's encoder = NUMBER at 64x96"]),
        (
            "eval",
            [
                f"evaluation, {measures} measures / whole network = NUMBER at 64x96 "
                "(NUMBER ms an image)"
                for measures in ("fast", "all")
            ],
        ),
    ],
)
def test_a_line_is_printed_for_each_ratio(capsys, what, lines):
    load_tool("tools/benchmark.py").main([what, "--size", "64", "96", "--rounds", "1"])
    printed = capsys.readouterr().out.splitlines()
    numbers = [float(number) for line in printed for number in re.findall(r"\d+\.\d+", line)]
    assert all(number > 0 for number in numbers)
    expected = [f"cosal_vgg16_cpu.yaml: {line}" for line in lines]
    assert [re.sub(r"\d+\.\d+", "NUMBER", line) for line in printed] == expected
