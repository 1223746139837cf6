"""The same as the page by HTTP, for programs; /openapi.json describes it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Query, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, Field

from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.web.kept_pictures import KeptPictures
from cosal_d2.inference.web.limits import Limits, Refused
from cosal_d2.inference.web.seen_picture import SeenPicture
from cosal_d2.inference.web.uploads import plain_name, read_upload
from cosal_d2.inference.web.views import FILES, coco_json
from cosal_d2.inference.web.worker import Worker

FORM_OF_BOX = "like: give x0,y0,x1,y1 in pixels, with x0 < x1 and y0 < y1"


class Image(BaseModel):
    """The picture."""

    id: int
    file_name: str
    height: int
    width: int
    repeats: float | None = Field(None, description="probability that anything repeats")


class Annotation(BaseModel):
    """An object."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float] = Field(description="x, y, width and height in pixels")
    area: float
    segmentation: dict = Field(description="COCO's compressed RLE: size and counts")
    iscrowd: int
    score: float
    group_id: int = Field(description="0 for the largest group")


class Objects(BaseModel):
    """COCO's json of one picture, with counts."""

    count: int = Field(description="objects of the largest group")
    counts: list[int] = Field(description="objects of each group, the largest first")
    images: list[Image]
    annotations: list[Annotation]
    categories: list[dict]
    map: str | None = Field(None, description="the co-saliency map, a grey PNG in base 64")


class Detail(BaseModel):
    """Why a request was refused."""

    detail: str


REFUSALS = {
    status: {"model": Detail, "description": text}
    for status, text in {
        408: "the request did not arrive in time",
        413: "over the limit of bytes or pixels",
        415: "no picture of a known kind",
        422: "empty, damaged, or a field of another form",
        503: "too many requests, or it took too long; try again",
    }.items()
}


def build_routes(
    predictor: CoSaliencyPredictor, kept: KeptPictures, worker: Worker, limits: Limits
) -> APIRouter:
    """The routes ``/predict``, ``/results/...`` and ``/health``.

    Args:
        predictor: its network has the grouping.
        kept: visitors' pictures.
        worker: does the work.
        limits: of pictures.
    """
    router = APIRouter()

    def predict(content: bytes, name: str, threshold: float | None, box: str, with_map: bool):
        like = _box(box)
        image = read_upload(content, limits)
        try:
            seen = SeenPicture.look(predictor, image, like)
        except ValueError as error:
            raise Refused(str(error)) from error
        return coco_json(seen.result(threshold), name, with_map)

    @router.post(
        "/predict",
        summary="What repeats in a picture",
        response_model=Objects,
        response_model_exclude_none=True,
        responses=REFUSALS,
    )
    async def _predict(
        picture: Annotated[UploadFile, File(description="JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP")],
        threshold: Annotated[
            float | None,
            Form(ge=0, le=1, allow_inf_nan=False, description="least score of an object"),
        ] = None,
        like: Annotated[
            str,
            Form(
                max_length=200,
                description="x0,y0,x1,y1 in pixels, a box around one object: find its like",
            ),
        ] = "",
        with_map: Annotated[bool, Form(alias="map", description="answer with the map")] = False,
    ):
        content = await picture.read(limits.bytes + 1)
        name = plain_name(picture.filename)
        return await worker.do(predict, content, name, threshold, like, with_map)

    def file(visitor: str, name: str, threshold: float, like: int | None) -> Response:
        if name not in FILES:
            raise Refused(f"there are {', '.join(FILES)}", 404)
        seen = kept.get(visitor)
        if like is not None and like >= len(seen.regions):
            raise Refused("like: there is no such region")
        media_type, content = FILES[name]
        return Response(
            content(seen.result(threshold, like), threshold),
            media_type=media_type,
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    @router.get("/results/{visitor}/{name}", include_in_schema=False)
    async def _file(
        visitor: Annotated[str, Path(pattern=r"^\w{6,64}$")],
        name: Annotated[str, Path(max_length=20)],
        threshold: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.5,
        like: Annotated[int | None, Query(ge=0, le=10**6)] = None,
    ):
        return await worker.do(file, visitor, name, threshold, like)

    @router.get("/health", summary="Whether the server answers")
    async def _health() -> dict[str, str]:
        return {"status": "ok"}

    return router


def _box(text: str) -> tuple[float, ...] | None:
    if not text.strip():
        return None
    try:
        box = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise Refused(FORM_OF_BOX) from None
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise Refused(FORM_OF_BOX)
    return box
