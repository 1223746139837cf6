"""RFCN: its first prior, and that each time step takes the last one's map."""

import pytest
import torch
import torch.nn.functional as F
from base import MethodTests, predict
from network_data import sample

from cosal_d2.modeling.methods import rfcn
from cosal_d2.modeling.methods.rfcn import TIME_STEPS, contrast_prior, with_prior
from cosal_d2.modeling.methods.superpixels import segment_means, superpixels
from cosal_d2.utils import requirements


def disc(size=(60, 80), middle=(30, 40), radius=8):
    """A red disc on grey, BGR minus the mean, and where it is."""
    image = torch.full((3, *size), 8.0)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 <= radius**2
    image[:, inside] = torch.tensor([-80.0, -90.0, 120.0])[:, None]
    return image, inside


class TestRFCN(MethodTests):
    options = [
        *("MODEL.DECODER.NAME", "RFCNDecoder", "MODEL.DECODER.SKIPS", "('conv4_3', 'conv3_3')"),
        *("MODEL.DECODER.CHANNELS", "(16, 8)", "MODEL.DECODER.NUM_CONVS", "(1, 1)"),
        *("MODEL.DECODER.SKIP_CHANNELS", "(8, 8)"),
    ]

    def test_a_step_takes_the_last_ones_map(self, monkeypatch):
        decoder = self.model.decoder
        priors, maps, whole = [], [], decoder.step

        def watched(r, skips, prior):
            logits = whole(r, skips, prior)
            priors.append(prior)
            maps.append(logits.sigmoid())
            return logits

        monkeypatch.setattr(decoder, "step", watched)
        image = sample()["image"]
        (found,) = predict(self.model, image)
        assert len(maps) == TIME_STEPS
        for last, prior in zip(maps, priors[1:], strict=False):
            assert torch.equal(prior, last)
        pixels = self.model.preprocess([image]).tensor
        assert torch.equal(priors[0][0, 0], contrast_prior(F.avg_pool2d(pixels, 4)[0]))
        enlarged = F.interpolate(torch.logit(maps[-1]), scale_factor=4, mode="bilinear")
        torch.testing.assert_close(found, enlarged[0, 0].sigmoid(), rtol=1e-3, atol=1e-5)

    def test_another_prior_gives_another_map_at_each_place(self):
        decoder = self.model.eval().decoder
        with torch.no_grad():
            features, r = self.model.features(self.model.preprocess([sample()["image"]]))
            prior = torch.full((1, 1, 16, 16), 0.2)
            other = prior.clone()
            other[:, :, 4:8, 4:8] = 0.9
            change = (decoder.step(r, features, other) - decoder.step(r, features, prior)).abs()
        assert change[:, :, 4:8, 4:8].min() > 1e-4

    def test_each_step_has_its_loss_and_errors_reach_the_steps_before(self):
        decoder = self.model.train().decoder
        features, r = self.model.features(self.model.preprocess([sample()["image"]]))
        logits = decoder(r, features)
        assert logits.shape == (1, TIME_STEPS, 16, 16)
        targets = torch.zeros((1, 16, 16), dtype=torch.uint8)
        losses = [decoder.output_loss(z, targets, None).item() for z in logits.unbind(1)]
        total = decoder.losses(logits, targets)["loss_cosal"].item()
        assert total == pytest.approx(sum(losses), rel=1e-6)
        prior = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
        decoder.step(r, features, prior).sum().backward()
        assert bool((prior.grad != 0).any())


def test_the_prior_is_high_on_a_red_disc_and_low_around_it():
    image, inside = disc()
    prior = contrast_prior(image)
    assert prior.shape == (60, 80) and prior.dtype == torch.float32
    assert prior.min() >= 0 and prior.max() == 1
    assert prior[inside].mean() > 0.6
    assert prior[~inside].mean() < 0.15
    assert prior[inside].median() > 5 * prior[~inside].median()


def test_the_prior_is_higher_in_the_middle_of_the_picture():
    middle, inside = disc()
    corner, aside = disc(middle=(12, 12))
    both = torch.where(aside, corner, middle)
    prior = contrast_prior(both)
    assert prior[inside].mean() > 1.5 * prior[aside].mean() > 0


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (16, 24)])
def test_a_picture_of_one_colour_has_no_contrast(size):
    prior = contrast_prior(torch.full((3, *size), 7.0))
    assert prior.shape == size and not prior.any()


def test_each_cue_alone_makes_contrast(monkeypatch):
    monkeypatch.setattr(rfcn, "superpixels", lambda image, count: cells(image, 4))
    grey = torch.full((3, 24, 24), 100.0)
    stripes, colour = grey.clone(), grey.clone()
    stripes[:, 8:12, 8:16:2] = 60.0
    stripes[:, 8:12, 9:16:2] = 140.0  # the mean is the others'
    colour[:, 8:12, 8:16] = torch.tensor([60.0, 100.0, 140.0])[:, None, None]  # and so the grey
    for image in (stripes, colour):
        prior = contrast_prior(image)
        assert prior[8:12, 8:16].min() > 3 * prior[20:, 20:].max()


def cells(image, side):
    """Squares of that side in place of superpixels."""
    y, x = torch.meshgrid(*(torch.arange(n) // side for n in image.shape[1:]), indexing="ij")
    return y * (x.max() + 1) + x


def test_superpixels_follow_edges_and_their_means_are_exact():
    image, inside = disc()
    labels = superpixels(image, 100)
    assert labels.shape == (60, 80) and labels.dtype == torch.int64
    assert 50 < len(labels.unique()) == labels.max() + 1 < 150
    shares = segment_means(inside[None].float(), labels)
    mixed = ((shares > 0.05) & (shares < 0.95)).float().mean()
    assert mixed < 0.1
    values = torch.randn((2, 60, 80), generator=torch.Generator().manual_seed(0))
    means = segment_means(values, labels)
    for label in (0, 17, int(labels.max())):
        torch.testing.assert_close(means[label], values[:, labels == label].mean(dim=1))


def test_an_export_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    with pytest.raises(ValueError, match="superpixels is not exported"):
        contrast_prior(disc()[0])


def test_a_prior_is_averaged_to_the_size_of_what_it_joins():
    prior = torch.arange(16.0).reshape(1, 1, 4, 4)
    joined = with_prior(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), prior)
    assert joined.shape == (1, 4, 2, 2) and joined.dtype == torch.bfloat16
    assert joined[0, 3].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_without_scikit_image_the_command_is_named(monkeypatch):
    found = requirements.location
    monkeypatch.setattr(
        requirements, "location", lambda name: None if name == "skimage" else found(name)
    )
    with pytest.raises(ImportError, match="RFCNDecoder needs skimage.*pip install scikit-image"):
        rfcn.RFCNDecoder(None, None, None)
