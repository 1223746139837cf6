"""The tool that runs the cookbook: printed outputs are renewed, pictures are small copies."""

import cv2
import numpy as np
import pytest
from PIL import Image
from tool_loading import ROOT, load_tool

tool = load_tool("tools/docs_pictures.py")

TEXT = """# A

```python
number = 6
print(number)
```

```text
5
of an earlier run
```

```bash
cosal predict --input 'a b.jpg'
cosal data describe
```

```text
```

```python
print(number + 1)  # not shown
```

```text
no output: something else stands between
```
"""


def test_outputs_are_renewed_and_the_rest_stays(monkeypatch):
    monkeypatch.setattr(tool, "run_cosal", lambda words: print(words))
    text = TEXT.replace("```\n\n```text\nno", "```\n\nelse\n\n```text\nno")
    assert tool.run_blocks(text) == text.replace("5\nof an earlier run", "6").replace(
        "```text\n```",
        "```text\n['predict', '--input', 'a b.jpg']\n['data', 'describe']\n```",
    )


def test_a_command_that_fails_ends_it(monkeypatch):
    monkeypatch.setattr(tool, "run_cosal", lambda words: 1)
    with pytest.raises(SystemExit) as stop:
        tool.run_blocks(TEXT)
    assert stop.value.code == 1


def test_pictures_are_small_copies(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (720, 960, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    cv2.imwrite(str(tmp_path / "b.png"), pixels[:, :, :3])
    video = cv2.VideoWriter(str(tmp_path / "c.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (64, 48))
    for grey in (10, 60, 120, 180, 240):
        video.write(np.full((48, 64, 3), grey, np.uint8))
    video.release()
    for name, size, mode in (
        *(("a.png", (480, 360), "P"), ("b.jpg", (480, 360), "RGB")),
        ("c.jpg", (192, 48), "RGB"),
    ):
        tool.write_picture(tmp_path / name, tmp_path / "copies" / "of" / name)
        copy = Image.open(tmp_path / "copies" / "of" / name)
        assert (copy.size, copy.mode) == (size, mode)
    greys = np.array(copy.convert("L"))[24, [32, 96, 160]]
    assert np.abs(greys - [10.0, 120.0, 240.0]).max() < 12


def test_the_code_of_the_cookbook_is_found_and_compiles():
    text = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
    blocks = tool.BLOCK.findall(text)
    assert len(blocks) == text.count("\n```bash\n") + text.count("\n```python\n")
    assert sum(bool(shown) for *_, shown in blocks) == text.count("\n```text\n")
    for _, language, lines, _ in blocks:
        if language == "python":
            compile(lines, "cookbook.md", "exec")
        else:
            assert all(line.startswith("cosal ") for line in lines.splitlines())


def test_the_pictures_of_the_documents_are_those_of_the_cookbook_and_the_page():
    pictures = ROOT / "docs" / "pictures"
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    texts = ((ROOT / "docs" / name).read_text("utf-8") for name in ("cookbook.md", "serve.md"))
    names = [name for text in texts for name in tool.PICTURE.findall(text)]
    assert files == sorted(pictures / name for name in names)
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) < 100_000 and sum(sizes) < 1_000_000
