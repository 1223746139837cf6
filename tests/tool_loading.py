"""Command line tools as modules, for tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_tool(path: str) -> ModuleType:
    """The tool at a path inside the project, such as `tools/train_net.py`."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_tool", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
