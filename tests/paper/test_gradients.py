"""The gradients of the losses on the feature-sensitive block, and their command."""

from __future__ import annotations

import pytest
import torch
from detectron2.utils.events import EventStorage
from network_data import GROUPED, TINY, sample, tiny_config, tiny_model

from cosal_d2.cli import main
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.paper.gradients import compare_gradients, measure_gradients

TRIPLET, MAP = "loss_triplet", "loss_cosal"


def measured(*opts):
    return measure_gradients(tiny_model(*opts).train(), [[sample()], [sample(seed=2)]])


def test_shares_add_up_and_the_maps_gradient_is_its_own_direction():
    found = measured()
    assert set(found) == {MAP, TRIPLET, "loss_rpn_cls", "loss_rpn_loc"}
    assert sum(share for share, _ in found.values()) == pytest.approx(1)
    assert found[MAP][1] == pytest.approx(1, abs=1e-5)
    assert all(abs(cosine) < 0.99 for name, (_, cosine) in found.items() if name != MAP)


def test_a_loss_of_twice_the_weight_has_twice_the_share():
    once, twice = measured(), measured("MODEL.RFM.LOSS_WEIGHT", "2.0")
    ratios = [found[TRIPLET][0] / found[MAP][0] for found in (once, twice)]
    assert ratios[1] > 1.5 * ratios[0] > 0  # means of ratios, over two pictures
    assert once[TRIPLET][1] == pytest.approx(twice[TRIPLET][1], abs=1e-4)


def test_one_picture_by_hand():
    model = tiny_model().train()
    found = measure_gradients(model, [[sample()]])
    norms = {}
    for name in found:
        model.zero_grad()
        with EventStorage():
            model([sample()])[name].backward()
        gradients = [p.grad.flatten() for p in model.feature_sensitive.parameters()]
        norms[name] = torch.cat(gradients).norm().item()
    for name, norm in norms.items():
        assert found[name][0] == pytest.approx(norm / sum(norms.values()), rel=1e-4)


def test_losses_that_do_not_reach_the_block_are_left_out():
    found = measured(*GROUPED)
    assert "loss_group" not in found and MAP not in found
    assert found["loss_foreground"][1] == pytest.approx(1, abs=1e-5)


def test_the_command_prints_a_row_a_loss(untouched_loggers, dataset, tmp_path, capsys):
    CoSaliencyCheckpointer(tiny_model(), str(tmp_path)).save("random")
    opts = [
        *TINY,
        "MODEL.WEIGHTS",
        str(tmp_path / "random.pth"),
        "DATASETS.TRAIN",
        f"('{dataset}',)",
    ]
    main(
        [
            "paper",
            "gradients",
            "--config-file",
            "cosal_vgg16.yaml",
            "--iterations",
            "1",
            "--opts",
            *opts,
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ")[0].strip("| ") for line in lines if line.startswith("|")]
    assert rows[2:] == ["loss_rpn_cls", "loss_rpn_loc", TRIPLET, MAP]


def test_without_the_block_there_is_nothing_to_measure():
    with pytest.raises(ValueError, match="FEATURE_SENSITIVE.ENABLED is False"):
        compare_gradients(
            tiny_config("MODEL.FEATURE_SENSITIVE.ENABLED", "False", "MODEL.RFM.SAMPLER", ""), 1
        )


def test_weights_without_the_branch_are_refused(tmp_path):
    CoSaliencyCheckpointer(tiny_model("MODEL.RFM.SAMPLER", ""), str(tmp_path)).save("plain")
    with pytest.raises(ValueError, match="plain.pth lacks proposal_generator.*random weights"):
        compare_gradients(tiny_config("MODEL.WEIGHTS", str(tmp_path / "plain.pth")), 1)
