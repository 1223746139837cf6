"""What every network has to do, whatever its encoder, branch and sampler: one class of checks.

A subclass names the options that make its network out of ``network_data.TINY``, and its losses.
"""

import tempfile

import torch
from detectron2.layers import ROIAlign
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage
from network_data import sample, tiny_config, tiny_model

from cosal_d2.engine import CoSaliencyCheckpointer

MAP = {"loss_cosal"}
OFFLINE = MAP | {"loss_triplet"}
ONLINE = OFFLINE | {"loss_rpn_cls", "loss_rpn_loc"}
WITH_GROUPING = ONLINE | {"loss_foreground", "loss_mask", "loss_group", "loss_pair"}
WITH_GROUPING |= {"loss_repeats"}


def step(model, *inputs):
    """Losses of a batch after their backward pass."""
    model.train().zero_grad()
    with EventStorage():
        losses = model(list(inputs))
    sum(losses.values()).backward()
    return losses


@torch.no_grad()
def predict(model, *images, **wanted):
    """Maps of pictures (3, h, w) in one batch."""
    return [x["cosal_map"] for x in model.eval()([{"image": x, **wanted} for x in images])]


def copy_of(state):
    return {k: v.clone() for k, v in state.items()}


def seeded(build, seed=0):
    """What a function builds, with its random weights drawn from a seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return build()


def noise(*shape, seed=0):
    """A tensor of normal noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class NetworkTests:
    """Checks of one network.

    Attributes:
        options: on top of ``TINY``.
        losses: names of its losses.
        learning: how the names of the encoder's parameters that learn begin.
        given: whether MODEL.BACKBONE.WEIGHTS names a file with the encoder's weights; without one
            the encoder is random and a checkpoint holds all of it.
    """

    options = ()
    losses = ONLINE
    learning = ()
    given = True

    @classmethod
    def setup_class(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.opts = list(cls.options)
        if cls.given:
            path = f"{cls.folder.name}/encoder.pth"
            state = tiny_model(*cls.opts, seed=9).backbone.state_dict()
            torch.save({k: 1.5 * v if "running_var" in k else v for k, v in state.items()}, path)
            cls.opts += ["MODEL.BACKBONE.WEIGHTS", path]
        cls.model = tiny_model(*cls.opts)

    @classmethod
    def teardown_class(cls):
        cls.folder.cleanup()
        del cls.model

    def check_step(self, losses):
        assert losses.keys() == self.losses
        assert all(v.dtype == torch.float32 and bool(v.isfinite()) for v in losses.values())
        for name, parameter in self.model.named_parameters():
            assert (parameter.grad is not None) == self.learns(name), name
            assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name

    def learns(self, name):
        encoder = "backbone."
        return not name.startswith(encoder) or name[len(encoder) :].startswith(self.learning)

    def test_a_step_trains_all_that_learns(self):
        odd = sample((60, 52), [(4, 4, 28, 30), (24, 30, 50, 58)])
        losses = step(self.model, odd, sample(seed=2))
        self.check_step(losses)
        assert all(losses[k].item() > 0 for k in self.losses - {"loss_pair", "loss_mask"})

    def test_a_picture_in_which_nothing_repeats_trains(self):
        for item in (sample(boxes=()), sample(cosalient=[False, False])):
            losses = step(self.model, item)
            self.check_step(losses)
            assert all(losses[k].item() == 0 for k in {"loss_triplet", "loss_pair"} & self.losses)

    def test_a_step_is_a_function_of_its_seeds(self):
        results = []
        for global_seed, seed in ((1, 5), (2, 5), (3, 6)):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            with EventStorage(), torch.no_grad():
                losses = self.model.train()([sample() | {"seed": seed}])
            assert torch.equal(torch.get_rng_state(), before)
            results.append({k: v.item() for k, v in losses.items()})
        assert results[0] == results[1]
        assert all(results[0][k] != results[2][k] for k in self.losses & {"loss_triplet"})

    def test_a_map_has_the_pictures_size_alone_and_in_a_batch(self):
        small = torch.randint(0, 256, (3, 37, 23), dtype=torch.uint8)
        large = torch.randint(0, 256, (3, 48, 30), dtype=torch.uint8)  # padded to the same size
        both = predict(self.model, small, large)
        for image, found in zip((small, large), both, strict=True):
            (alone,) = predict(self.model, image)
            assert found.shape == image.shape[1:] and found.dtype == torch.float32
            assert 0 <= found.min() <= found.max() <= 1
            torch.testing.assert_close(alone, found, rtol=1e-3, atol=1e-4)
        (scaled,) = predict(self.model, small, height=75, width=41)
        assert scaled.shape == (75, 41)

    def test_bfloat16_trains_and_predicts(self, monkeypatch):
        image = sample()["image"]
        (exact,) = predict(self.model, image)
        monkeypatch.setattr(self.model, "dtype", torch.bfloat16)
        pooled = set()  # torchvision's RoIAlign has no half-precision kernel on every CPU
        handles = [
            part.register_forward_pre_hook(lambda _, x: pooled.add(x[0].dtype))
            for part in self.model.modules()
            if isinstance(part, ROIAlign)
        ]
        self.check_step(step(self.model, sample()))
        (found,) = predict(self.model, image)
        for handle in handles:
            handle.remove()
        assert pooled <= {torch.float32} and bool(pooled) == bool(handles)
        assert found.dtype == torch.float32 and 0 <= found.min() <= found.max() <= 1
        assert (found - exact).abs().mean() < 0.1

    def test_a_step_of_the_optimizer_changes_what_learns(self):
        model = tiny_model(*self.opts)
        before = copy_of(model.state_dict())
        optimizer = build_optimizer(tiny_config(*self.opts), model)
        step(model, sample(), sample(seed=2))
        optimizer.step()
        changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        learning = {k for k, _ in model.named_parameters() if self.learns(k)}
        assert changed <= learning
        # Where a loss is 0 or a ReLU lets nothing pass, a weight may stay.
        assert len(changed) > 0.9 * len(learning)

    def test_a_checkpoint_gives_the_same_map(self, tmp_path):
        CoSaliencyCheckpointer(self.model, str(tmp_path)).save("model")
        saved = set(torch.load(tmp_path / "model.pth", weights_only=True)["model"])
        encoder = {k for k in self.model.state_dict() if k.startswith("backbone.")}
        frozen = encoder - {k for k, _ in self.model.named_parameters() if self.learns(k)}
        assert set(self.model.state_dict()) - saved == (frozen if self.given else set())
        image = sample((37, 50))["image"]
        other = tiny_model(*self.opts, seed=1)
        assert not torch.equal(*predict(self.model, image), *predict(other, image))
        CoSaliencyCheckpointer(other).load(str(tmp_path / "model.pth"))
        assert torch.equal(*predict(self.model, image), *predict(other, image))


class MethodTests(NetworkTests):
    """Checks of a compared method's decoder on the frozen encoder; a subclass names the decoder."""

    options = ()
    losses = MAP
    given = False

    @classmethod
    def setup_class(cls):
        cls.options = [
            *("MODEL.RFM.SAMPLER", "", "MODEL.FEATURE_SENSITIVE.ENABLED", "False"),
            *("MODEL.DECODER.DROPOUT", "0.0", "MODEL.DECODER.IOU_LOSS_WEIGHT", "0.0"),
            *("MODEL.BACKBONE.FREEZE_AT", "5", *cls.options),
        ]
        super().setup_class()

    def test_some_steps_lower_the_loss(self):
        model = tiny_model(*self.opts)
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(learning, 0.003)
        found = []
        for _ in range(8):
            found.append(step(model, sample())["loss_cosal"].item())
            optimizer.step()
        assert found[-1] < 0.8 * found[0], found
