"""The networks that configs can make, each through the checks of ``base``."""

from base import MAP, OFFLINE, WITH_GROUPING, NetworkTests
from network_data import GROUPED, RESNET

FPN = [
    *(*RESNET, "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.FPN.OUT_CHANNELS", "32"),
    *("MODEL.RESNETS.OUT_FEATURES", "['res2', 'res3', 'res4', 'res5']"),
    *("MODEL.FPN.IN_FEATURES", "['res2', 'res3', 'res4', 'res5']"),
]


def frozen(stages):
    return ["MODEL.BACKBONE.FREEZE_AT", str(stages)]


class TestVGG16(NetworkTests):
    options = frozen(5)


class TestVGG16ThatLearns(NetworkTests):
    options = frozen(0)
    learning = ("features.",)
    given = False


class TestVGG16WithGrouping(NetworkTests):
    options = [*GROUPED, *frozen(5)]
    losses = WITH_GROUPING


class TestVGG16OfflineSampler(NetworkTests):
    options = [*frozen(5), "MODEL.RFM.SAMPLER", "OfflineSampler"]
    losses = OFFLINE


class TestUNet(NetworkTests):
    options = [*frozen(5), "MODEL.RFM.SAMPLER", "", "MODEL.FEATURE_SENSITIVE.ENABLED", "False"]
    losses = MAP
    given = False


class TestResNet50(NetworkTests):
    options = [*RESNET, *frozen(5)]


class TestResNet50WithGroupingThatLearns(NetworkTests):
    options = [*RESNET, *GROUPED, *frozen(2)]
    learning = ("res3.", "res4.")
    losses = WITH_GROUPING


class TestResNet50ThatEndsAtStride2WithoutASkip(NetworkTests):
    options = [
        *(*RESNET, *GROUPED, *frozen(5), "MODEL.GROUPING.COMPARED_LEVELS", "('res4',)"),
        *("MODEL.DECODER.SKIPS", "('res3', 'res2', '')", "MODEL.DECODER.CHANNELS", "(16, 8, 8)"),
        *("MODEL.DECODER.NUM_CONVS", "(1, 1, 1)", "MODEL.DECODER.SKIP_CHANNELS", "(8, 8, 0)"),
    ]
    losses = WITH_GROUPING


class TestResNet50GroupNormThatLearns(NetworkTests):
    options = [*RESNET, *frozen(0), "MODEL.RESNETS.NORM", "GN"]
    learning = ("stem.", "res")
    given = False


class TestResNet50FPNWithGrouping(NetworkTests):
    options = [*FPN, *GROUPED, *frozen(3)]
    learning = ("fpn_", "bottom_up.res4.", "bottom_up.res5.")
    losses = WITH_GROUPING
