import pytest
from tool_loading import load_tool


@pytest.fixture(scope="module")
def tool():
    return load_tool("tools/benchmark.py")


def test_evaluation_costs_a_small_part_of_the_network(tool):
    ratios = tool.evaluation_ratios("cosal_vgg16_cpu.yaml", 480, 640, rounds=2)
    assert list(ratios) == ["fast", "all"]
    assert 0 < ratios["fast"][0] <= 0.1
    assert ratios["fast"][0] < ratios["all"][0] <= 1


def test_the_command_prints_a_line_for_each_choice(tool, capsys, monkeypatch):
    arguments = ["benchmark.py", "eval", "--size", "64", "96", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    tool.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("evaluation, ")[1].split()[0] for line in lines] == ["fast", "all"]
    assert all("at 64x96" in line for line in lines)
