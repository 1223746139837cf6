"""The page: a picture in, what repeats in it out; a slider and clicks judge it again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import numpy as np

from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.web.kept_pictures import KeptPictures
from cosal_d2.inference.web.limits import Limits, Refused
from cosal_d2.inference.web.seen_picture import SeenPicture
from cosal_d2.inference.web.uploads import read_upload
from cosal_d2.inference.web.views import FILES, LONGEST, draw_map, draw_objects, shown_size, summary
from cosal_d2.inference.web.worker import Worker

TITLE = "What repeats in a picture"
INTRODUCTION = (
    "# What repeats in this picture?\n"
    "Drop a picture, or pick an example. Click an object in the result to find all like it."
)
LABELS = {"mask.png": "mask", "objects.zip": "cut-outs", "objects.json": "json"}
CSS = """
#summary p { font-size: 1.15rem; margin: 0.2rem 0; }
#summary #count { font-size: 1.8rem; }
#counts { list-style: none; display: flex; gap: 1rem; padding: 0; }
#downloads { display: flex; flex-wrap: wrap; gap: 0.6rem; }
#downloads a { padding: 0.6rem 1rem; border: 1px solid currentColor; border-radius: 0.5rem; }
#examples .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
#examples button { width: 100%; min-width: 0; }
#overlay img, #objects img { cursor: crosshair; }
footer { display: none !important; }
"""


def build_page(
    predictor: CoSaliencyPredictor,
    kept: KeptPictures,
    worker: Worker,
    limits: Limits,
    examples: list[np.ndarray],
) -> gr.Blocks:
    """The page of a server.

    Args:
        predictor: its network has the grouping.
        kept: visitors' pictures.
        worker: does the work.
        limits: of pictures and of those who wait.
        examples: uint8 BGR (H, W, 3) each.
    """
    actions = _Actions(predictor, kept, worker, limits, examples)
    least = predictor.cfg.MODEL.GROUPING.INSTANCE_THRESHOLD
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                upload = gr.File(
                    label=f"A picture, up to {limits.megabytes:g} MB",
                    type="binary",
                    height=150,
                    elem_id="upload",
                )
                gallery = gr.Gallery(
                    [example[:, :, ::-1] for example in examples],
                    show_label=False,
                    columns=4,
                    height=118,
                    format="jpeg",
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                    elem_id="examples",
                )
                threshold = gr.Slider(
                    *(0, 1),
                    value=least,
                    step=0.05,
                    label="Threshold",
                    info="Higher leaves out objects that are less certain",
                    elem_id="threshold",
                )
                everything = gr.Button("All groups again", elem_id="everything")
            with gr.Column(scale=2, min_width=300):
                text = gr.HTML("<p>Nothing to show yet.</p>", elem_id="summary")
                overlay = _picture("Overlay", "overlay")
                with gr.Row():
                    objects = _picture("Objects", "objects")
                    cosal_map = _picture("Map", "map")
        shown = [text, overlay, objects, cosal_map]
        options: dict[str, Any] = {
            "api_visibility": "private",
            "concurrency_id": "page",
            "concurrency_limit": 1,
        }
        upload.upload(actions.upload, [upload, threshold], [*shown, upload], **options)
        gallery.select(actions.example, threshold, shown, **options)
        threshold.change(
            actions.judge,
            threshold,
            shown,
            trigger_mode="always_last",
            show_progress="minimal",
            **options,
        )
        overlay.select(actions.click, threshold, shown, **options)
        objects.select(actions.click, threshold, shown, **options)
        everything.click(actions.everything, threshold, shown, **options)
        page.unload(actions.leave)
    return page.queue(max_size=limits.queue, api_open=False)


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        format="jpeg",
        interactive=False,
        buttons=["fullscreen"],
        elem_id=name,
        alt_text=label,
        min_width=140,
    )


class _Actions:
    """What the page's functions do; each gives the summary and the three pictures."""

    def __init__(self, predictor, kept, worker, limits, examples) -> None:
        self.predictor, self.kept, self.worker = predictor, kept, worker
        self.limits, self.examples = limits, examples

    async def upload(self, content: bytes | None, threshold: float, request: gr.Request):
        """A new picture; the upload's place is free again."""
        shown = await self._do(
            request, self._look, lambda: read_upload(content or b"", self.limits), threshold
        )
        return *shown, None

    async def example(self, threshold: float, event: gr.SelectData, request: gr.Request):
        """One of the examples."""
        index = event.index
        if type(index) is not int or not 0 <= index < len(self.examples):
            raise gr.Error("there is no such example", print_exception=False)
        return await self._do(request, self._look, lambda: self.examples[index], threshold)

    async def judge(self, threshold: float, request: gr.Request):
        """Another threshold."""
        if request.session_hash not in self.kept:
            return [gr.skip()] * 4
        return await self._do(request, self._judge, threshold)

    async def click(self, threshold: float, event: gr.SelectData, request: gr.Request):
        """All like the object at a point."""
        return await self._do(request, self._pick, event.index, threshold)

    async def everything(self, threshold: float, request: gr.Request):
        """All groups again."""
        return await self._do(request, self._all, threshold)

    def leave(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        self.kept.forget(request.session_hash)

    async def _do(self, request: gr.Request, work: Callable, *args):
        """Work for a visitor; what is refused is shown."""
        try:
            return await self.worker.do(work, request.session_hash, *args)
        except Refused as error:
            raise gr.Error(_sentence(error), title="Sorry", print_exception=False) from error

    def _look(self, visitor: str, read: Callable[[], np.ndarray], threshold: float):
        self.kept.put(visitor, SeenPicture.look(self.predictor, read()))
        return self._all(visitor, threshold)

    def _all(self, visitor: str, threshold: float):
        self.kept.get(visitor).picked = None
        return self._judge(visitor, threshold)

    def _pick(self, visitor: str, point: Any, threshold: float):
        seen = self.kept.get(visitor)
        try:
            x, y = (float(value) for value in point)
        except (TypeError, ValueError):
            x = y = math.nan
        height, width = shown_size(seen.image)
        if not (0 <= x <= width and 0 <= y <= height):
            raise Refused("click inside the picture")
        scale = seen.image.shape[1] / width, seen.image.shape[0] / height
        index = seen.region_at((x + 0.5) * scale[0], (y + 0.5) * scale[1])
        if index is None:
            raise Refused("no object was found there; click another one")
        seen.picked = index
        return self._judge(visitor, threshold)

    def _judge(self, visitor: str, threshold: Any):
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise Refused("the threshold is between 0 and 1")
        seen = self.kept.get(visitor)
        result = seen.result(threshold, seen.picked)
        given = {"threshold": threshold} | ({} if seen.picked is None else {"like": seen.picked})
        links = {LABELS[x]: f"results/{visitor}/{x}?{urlencode(given)}" for x in FILES}
        return (
            summary(result, links, seen.picked is not None),
            result.overlay(LONGEST)[:, :, ::-1],
            draw_objects(result)[:, :, ::-1],
            draw_map(result),
        )


def _sentence(error: Refused) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
