import pytest
from tool_loading import load_tool

from cosal_d2.inference.benchmark import evaluation_ratios


def test_both_choices_of_measures_are_timed_over_the_network():
    ratios = evaluation_ratios("cosal_vgg16_cpu.yaml", 48, 64, rounds=1)
    assert list(ratios) == ["fast", "all"]
    assert all(ratio > 0 and seconds > 0 for ratio, seconds in ratios.values())


@pytest.mark.parametrize(
    ("what", "starts"), [("eval", ["fast", "all"]), ("ratio", ["whole network / encoder"])]
)
def test_the_command_prints_a_line_for_each_ratio(capsys, what, starts):
    load_tool("tools/benchmark.py").main([what, "--size", "64", "96", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.split(": ")[1].removeprefix("evaluation, ").startswith(start)
        assert "at 64x96" in line
