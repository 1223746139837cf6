"""A released file holds the trainable part in half precision, and its sha256 is written down."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from cosal_d2.engine import release as module
from cosal_d2.engine.release import release


def save(path: Path, content: dict) -> str:
    torch.save(content, path)
    return str(path)


def test_trainable_part_in_float16_with_its_digest(tmp_path: Path) -> None:
    model = {"backbone.features.0.weight": torch.ones(3), "decoder.w": torch.full((4,), 0.5)}
    model["decoder.count"] = torch.tensor(3)
    checkpoint = save(tmp_path / "c.pth", {"model": model, "iteration": 1})
    (tmp_path / "released.json").write_text('{"other.pth": {"sha256": "0"}}')
    path, digest = release(checkpoint, "x.pth", str(tmp_path))
    content = torch.load(path, weights_only=True)
    assert set(content) == {"model"}
    assert set(content["model"]) == {"decoder.w", "decoder.count"}
    assert content["model"]["decoder.w"].dtype == torch.float16
    assert content["model"]["decoder.count"].dtype == torch.int64
    assert digest == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    known = json.loads((tmp_path / "released.json").read_text())
    assert known == {"other.pth": {"sha256": "0"}, "x.pth": {"sha256": digest}}


def test_too_large_or_foreign_files_are_refused(tmp_path: Path, monkeypatch) -> None:
    checkpoint = save(tmp_path / "c.pth", {"model": {"w": torch.ones(100)}})
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="over 40"):
        release(checkpoint, "x.pth", str(tmp_path))
    with pytest.raises(ValueError, match="no `model`"):
        release(save(tmp_path / "d.pth", {"w": torch.ones(1)}), "x.pth", str(tmp_path))
    assert not (tmp_path / "x.pth").exists()


def test_the_released_files_are_those_of_the_index() -> None:
    folder = Path(module.RELEASED_FOLDER)
    known = json.loads((folder / "released.json").read_text())
    assert set(known) == {p.name for p in folder.glob("*.pth")}
    for name, entry in known.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
        assert (folder / name).stat().st_size <= module.MAX_BYTES
