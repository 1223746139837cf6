"""An iteration: gradients in parts, and what is not finite."""

import pytest
import torch
from network_data import registered, write_dataset
from training_data import small_config, train

from cosal_d2.engine import Trainer

# Without what draws for a whole batch, or is a mean over what differs from picture to picture.
PLAIN = [
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.OPTIMIZER", "SGD"),
    *("MODEL.RFM.SAMPLER", "", "MODEL.DECODER.DROPOUT", "0.0", "MODEL.DECODER.NORM", "GN"),
    *("MODEL.DECODER.IOU_LOSS_WEIGHT", "0.0", "SOLVER.BASE_LR", "0.1"),
]


def test_parts_of_a_batch_make_the_step_of_the_whole(tmp_path):
    trained = {}
    with registered(write_dataset(tmp_path / "data", count=1)) as one_size:
        for parts in (1, 2, 4):
            opts = [*PLAIN, "SOLVER.GRADIENT_PARTS", str(parts)]
            trained[parts] = train(small_config(one_size, tmp_path / str(parts), *opts))
    whole = trained[1].model.state_dict()
    loss = trained[1].storage.latest()["total_loss"][0]
    for parts in (2, 4):
        for key, value in trained[parts].model.state_dict().items():
            torch.testing.assert_close(value, whole[key], rtol=1e-4, atol=1e-6)
        assert trained[parts].storage.latest()["total_loss"][0] == pytest.approx(loss)


def test_parts_have_to_divide_a_batch(dataset, tmp_path):
    opts = ["SOLVER.IMS_PER_BATCH", "4", "SOLVER.GRADIENT_PARTS", "3"]
    with pytest.raises(ValueError, match="GRADIENT_PARTS is 3: make it a divisor of the 4"):
        Trainer(small_config(dataset, tmp_path, *opts))


def broken(monkeypatch, change):
    """Have the network's losses changed at iteration 1."""
    build = Trainer.build_model

    def built(cls, cfg):
        model = build(cfg)
        losses, calls = model._losses, []

        def changed(images, inputs):
            calls.append(inputs)
            found = losses(images, inputs)
            return change(found, model) if len(calls) == 2 else found

        model._losses = changed
        return model

    monkeypatch.setattr(Trainer, "build_model", classmethod(built))


class WithoutGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, value):
        return value.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * float("nan")


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda found, _: found | {"loss_cosal": found["loss_cosal"] * float("nan")}, "loss_cosal"),
        (lambda found, _: found | {"loss_cosal": found["loss_cosal"] / 0}, "loss_cosal"),
        (
            lambda found, _: found | {"loss_cosal": WithoutGradient.apply(found["loss_cosal"])},
            "the gradient of ",
        ),
    ],
)
def test_what_is_not_finite_names_its_pictures_and_saves_them(
    dataset, tmp_path, monkeypatch, change, lost
):
    broken(monkeypatch, change)
    cfg = small_config(dataset, tmp_path, "MODEL.RFM.SAMPLER", "", "SOLVER.MAX_ITER", "3")
    with pytest.raises(FloatingPointError, match="infinite or NaN at iteration 1 on ") as raised:
        train(cfg)
    path = tmp_path / "not_finite_0000001_0.pth"
    words = str(raised.value)
    assert words.startswith(lost) and f"(the batch is saved in {path})" in words
    saved = torch.load(path, weights_only=True)
    assert saved["iteration"] == 1 and len(saved["batch"]) == 2
    for sample in saved["batch"]:
        assert sample["file_name"] in words
        assert sample["image"].dtype == torch.uint8 and sample["gt_masks"].dtype == torch.bool
    assert "the weights are finite" in words
