"""Writing a series of synthetic scenes as a dataset root."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cosal_d2.prepare.series import SeriesContent, SeriesSpec, write_series
from cosal_d2.prepare.synthetic.catalogue import CLASSES
from cosal_d2.prepare.synthetic.scene import SceneOptions, render_scene
from cosal_d2.utils.coco import DISTRACTOR


@dataclass(frozen=True)
class DatasetSpec(SeriesSpec):
    """A series of synthetic scenes; scene i depends on (seed, i) and `options` alone.

    Attributes:
        options: what a scene holds.

    Raises:
        ValueError: a value is unusable; the message names the attribute.
    """

    options: SceneOptions = field(default_factory=SceneOptions)


def write_dataset(
    spec: DatasetSpec, workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> Path:
    """Draw a series of scenes and write it as `cosal_d2.prepare.series.write_series` does.

    Masks are the visible pixels.

    Args:
        spec: what to write and where.
        workers: processes; None takes one for each core that this process may use.
        overwrite: replace a dataset of the same name once the new one is complete.
        progress: show a progress bar.

    Returns:
        The json file.

    Raises:
        FileExistsError: the dataset exists and `overwrite` is False.
        ValueError: `workers` is less than 1.
    """
    content = SeriesContent(
        partial(render_scene, spec.seed, options=spec.options),
        [*CLASSES, DISTRACTOR],
        f"Synthetic co-saliency scenes, seed {spec.seed}",
    )
    return write_series(spec, content, workers, overwrite, progress)
