import pytest
import torch
from detectron2.utils.events import EventStorage
from network_data import GROUPED, sample, tiny_model

from cosal_d2.engine.gradients import branch_gradients


def norms_by_hand(model, batch):
    """One forward and one ordinary backward pass a loss."""
    with EventStorage():
        names = list(model(batch))
    norms = {}
    for name in names:
        model.zero_grad()
        with EventStorage():
            model(batch)[name].backward()
        gradients = [p.grad for p in model.feature_sensitive.parameters() if p.grad is not None]
        norms[name] = torch.cat([g.flatten() for g in gradients]).norm().item()
    model.zero_grad()
    return norms


def test_each_loss_alone_as_backward_gives_it():
    model = tiny_model().train()
    batch = [sample(seed=1), sample(seed=2)]
    wanted = norms_by_hand(model, batch)
    assert wanted.keys() == {"loss_cosal", "loss_rpn_cls", "loss_rpn_loc", "loss_triplet"}
    assert branch_gradients(model, batch) == pytest.approx(wanted, rel=1e-4)
    assert all(norm > 0 for norm in wanted.values())


def test_loss_weights_count_and_the_model_stays_as_it_was():
    batch = [sample(seed=1)]
    offline = ["MODEL.RFM.SAMPLER", "OfflineSampler"]
    model = tiny_model(*offline).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    single = branch_gradients(model, batch)
    tenfold = branch_gradients(tiny_model(*offline, "MODEL.RFM.LOSS_WEIGHT", "10.0"), batch)
    assert single.keys() == {"loss_cosal", "loss_triplet"}
    assert tenfold["loss_triplet"] == pytest.approx(10 * single["loss_triplet"], rel=1e-4)
    assert tenfold["loss_cosal"] == pytest.approx(single["loss_cosal"], rel=1e-4)
    assert not model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_without_the_block_there_is_nothing_to_measure():
    off = ["MODEL.RFM.SAMPLER", "", "MODEL.FEATURE_SENSITIVE.ENABLED", "False"]
    assert branch_gradients(tiny_model(*off), [sample()]) == {}


def test_a_block_that_does_not_learn_has_no_gradients():
    model = tiny_model(*GROUPED, "MODEL.GROUPING.TRAIN_ALONE", "True")
    assert branch_gradients(model, [sample()]) == {}


class Quadratic(torch.nn.Module):
    """Losses of one weight w = (1, 2): 3 |w|^2, one of nothing, and one of another weight."""

    def __init__(self):
        super().__init__()
        self.feature_sensitive = torch.nn.Linear(2, 1, bias=False)
        self.feature_sensitive.weight.data = torch.tensor([[1.0, 2.0]])
        self.other = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch):
        square = self.feature_sensitive.weight.square().sum()
        return {"loss_a": 3 * square, "loss_b": torch.zeros(()), "loss_c": self.other.sum()}


def test_a_loss_that_does_not_reach_the_block_has_norm_0():
    # The gradient of 3 |w|^2 is 6 w, of length 6 sqrt(5).
    norms = branch_gradients(Quadratic(), [])
    assert norms == {"loss_a": pytest.approx(6 * 5**0.5), "loss_b": 0.0, "loss_c": 0.0}
