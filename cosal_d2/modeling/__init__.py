"""The network. Importing this registers it with Detectron2."""

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

import cosal_d2.modeling.methods as _  # noqa: F401  (registers the compared methods)
from cosal_d2.modeling.backbone.vgg import VGG16, build_cosal_vgg16_backbone
from cosal_d2.modeling.decoder import COSAL_DECODER_REGISTRY, UNetDecoder, build_decoder
from cosal_d2.modeling.feature_sensitive import FeatureSensitiveBlock
from cosal_d2.modeling.meta_arch import CoSaliencyNet
from cosal_d2.modeling.proposal_generator import CoSaliencyRPN
from cosal_d2.modeling.rfm import RegionalFeatureMapping
from cosal_d2.modeling.triplets import TRIPLET_SAMPLER_REGISTRY, OfflineSampler, OnlineSampler

__all__ = [
    "COSAL_DECODER_REGISTRY",
    "TRIPLET_SAMPLER_REGISTRY",
    "CoSaliencyNet",
    "CoSaliencyRPN",
    "FeatureSensitiveBlock",
    "OfflineSampler",
    "OnlineSampler",
    "RegionalFeatureMapping",
    "UNetDecoder",
    "VGG16",
    "build_cosal_vgg16_backbone",
    "build_decoder",
]
