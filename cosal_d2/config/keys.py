"""Configuration keys of cosal_d2 on top of Detectron2's defaults.

Every key says what it means, its unit, and whether its value comes from the paper (arXiv
1910.11819) or is a choice that the paper leaves open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosal_d2.config.choices import FILLS
from cosal_d2.utils.requirements import require_detectron2

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def add_cosal_config(cfg: CfgNode) -> None:
    """Add the keys of cosal_d2 to ``cfg`` in place; Detectron2's global defaults stay as they
    are."""
    require_detectron2()
    from detectron2.config import CfgNode as CN

    _add_model_keys(cfg, CN)
    _add_branch_keys(cfg, CN)

    _add_augmentation_keys(cfg, CN)

    cfg.INPUT.COLOR_JITTER = CN()
    # Largest relative change of brightness, contrast and saturation; 0 turns it off (ours).
    cfg.INPUT.COLOR_JITTER.STRENGTH = 0.0
    # Probability that a training picture becomes grey (ours).
    cfg.INPUT.COLOR_JITTER.GRAY_PROB = 0.0

    # Train only on images whose json field `clean` is not false (ours).
    cfg.DATASETS.CLEAN_ONLY = False

    # "SGD" (paper) or "ADAMW" (ours, for short schedules).
    cfg.SOLVER.OPTIMIZER = "SGD"

    # Parts in which a process computes its share of a batch, one after another, where memory is
    # short; their gradients are averaged, as those of as many processes (ours).
    cfg.SOLVER.GRADIENT_PARTS = 1
    # Checkpoints that a training keeps beside the final one, the latest; 0 keeps all (ours).
    cfg.SOLVER.CHECKPOINTS_KEPT = 5

    # Measure on the first test dataset by which evaluations during the training choose
    # model_best.pth; "" for none. Choose on pictures that no score is reported on (ours).
    cfg.TEST.BEST_METRIC = "F0.3"
    # Number of images in the fixed probe whose share of satisfied triplets is logged every
    # TEST.EVAL_PERIOD iterations; 0 turns it off (ours).
    cfg.TEST.TRIPLET_PROBE_IMAGES = 0
    # What an evaluation measures: "paper" (the paper's protocol), "fast" (also the field's
    # threshold measures), "all" (also S, E and weighted F); see docs/measures.md (ours).
    cfg.TEST.MEASURES = "paper"
    # Worker processes for S, E and weighted F; 0 works in the evaluating process, -1 takes the
    # usable cores (ours).
    cfg.TEST.MEASURE_WORKERS = -1
    # Whether the grouping is told one object of each test picture, the first co-salient one: then
    # the map is of what resembles it (ours).
    cfg.TEST.EXEMPLARS = False


def _add_model_keys(cfg: CfgNode, CN: type) -> None:
    # Compute precision of the network: float32, or autocast to bfloat16 / float16. On a CPU without
    # native bfloat16 float32 is used instead, with a log line (ours).
    cfg.MODEL.DTYPE = "float32"
    # Name of the released trainable part that belongs to a config; it is loaded for --eval-only,
    # demo and predictor when MODEL.WEIGHTS is empty (ours).
    cfg.MODEL.RELEASED = ""

    # Weights that the encoder starts from, loaded when the network is built: "vgg16://imagenet", or
    # a file in the encoder's names (.safetensors, .pth, .npz, or Detectron2's .pkl) or of a network
    # that holds it; "" for those of MODEL.WEIGHTS, or random ones (paper: VGG-16 pre-trained on
    # ImageNet).
    # Detectron2's MODEL.BACKBONE.FREEZE_AT says which stages do not learn (paper: none does).
    cfg.MODEL.BACKBONE.WEIGHTS = ""
    # Whether that file may be a .pkl, a kind that can hold code; numpy arrays in it are loaded, and
    # it is refused where it holds more (ours).
    cfg.MODEL.BACKBONE.ALLOW_PICKLE = False

    cfg.MODEL.FEATURE_SENSITIVE = CN()
    # The three trainable 3x3 convolutions on H, the encoder's feature at stride 16 (paper: conv5_3
    # of VGG-16); off is Table 1's columns 1 and 2.
    cfg.MODEL.FEATURE_SENSITIVE.ENABLED = True
    # Channels of R (paper: 512).
    cfg.MODEL.FEATURE_SENSITIVE.CHANNELS = 512
    # Number of 3x3 convolutions (paper: 3).
    cfg.MODEL.FEATURE_SENSITIVE.NUM_CONVS = 3
    # Normalisation after each convolution: "GN", "" for none, or another of Detectron2's (ours).
    cfg.MODEL.FEATURE_SENSITIVE.NORM = "GN"
    # Start from convolutions that change nothing, instead of random ones (ours).
    cfg.MODEL.FEATURE_SENSITIVE.IDENTITY = False

    cfg.MODEL.DECODER = CN()
    # Decoder class, by its name in COSAL_DECODER_REGISTRY (paper: U-Net).
    cfg.MODEL.DECODER.NAME = "UNetDecoder"
    # The encoder's features that are fused, coarse to fine, each at half the stride before it, ""
    # for a level that fuses none; empty for every feature finer than H (paper). The map of a
    # decoder that ends above stride 1 is enlarged.
    cfg.MODEL.DECODER.SKIPS = ()
    # Output channels of each decoder level, coarse to fine (paper: symmetric to the encoder).
    cfg.MODEL.DECODER.CHANNELS = (512, 256, 128, 64)
    # Number of 3x3 convolutions of each level (paper: symmetric to the encoder).
    cfg.MODEL.DECODER.NUM_CONVS = (3, 3, 2, 2)
    # Channels to which a 1x1 convolution narrows each skip before fusion; 0 fuses it whole (paper).
    cfg.MODEL.DECODER.SKIP_CHANNELS = (0, 0, 0, 0)
    # Normalisation after each convolution: "GN", "" for none, or another of Detectron2's (ours).
    cfg.MODEL.DECODER.NORM = "GN"
    # Probability of dropping a whole channel of R before the decoder, in training (ours).
    cfg.MODEL.DECODER.DROPOUT = 0.0
    # alpha, weight of the decoder's binary cross-entropy (paper: 1).
    cfg.MODEL.DECODER.LOSS_WEIGHT = 1.0
    # Weight of a picture with `weak_masks` in that loss; its objects' outlines are rough (ours).
    cfg.MODEL.DECODER.WEAK_MASK_WEIGHT = 1.0
    # Weight of a soft intersection-over-union term inside loss_cosal; 0 is the paper's loss (ours).
    cfg.MODEL.DECODER.IOU_LOSS_WEIGHT = 0.0


def _add_branch_keys(cfg: CfgNode, CN: type) -> None:
    # True: distractors count as objects for the RPN; False: as background (ours).
    cfg.MODEL.RPN.DISTRACTORS_AS_OBJECTS = False

    cfg.MODEL.RFM = CN()
    # Where triplets come from, by the name in TRIPLET_SAMPLER_REGISTRY: "OnlineSampler" (RPN
    # regions, paper's column 7), "OfflineSampler" (jittered ground truth, columns 5 and 6; no RPN
    # is built), or "" for no bottom-up branch (columns 1 to 4).
    cfg.MODEL.RFM.SAMPLER = "OnlineSampler"
    # gamma, weight of the triplet loss (paper: 1).
    cfg.MODEL.RFM.LOSS_WEIGHT = 1.0
    # The margin of eq. 10, in squared embedding distance (the paper gives no value).
    cfg.MODEL.RFM.MARGIN = 0.5
    # Length of an embedding vector (the paper gives no value).
    cfg.MODEL.RFM.EMBEDDING_DIM = 128
    # Channels to which a 1x1 convolution narrows a pooled region before the linear layer (ours).
    cfg.MODEL.RFM.REDUCED_CHANNELS = 128
    # Scale embeddings to unit length, so that squared distances lie in [0, 4] (ours, as FaceNet).
    cfg.MODEL.RFM.NORMALIZE = True
    # Side of the RoIAlign output, in bins (paper: 7).
    cfg.MODEL.RFM.POOLER_RESOLUTION = 7
    # Bilinear samples a bin along each axis (paper: four a bin, so 2).
    cfg.MODEL.RFM.POOLER_SAMPLING_RATIO = 2
    # Positive regions, negative regions and triplets per image (paper: 32, 96, 128).
    cfg.MODEL.RFM.NUM_POSITIVES = 32
    cfg.MODEL.RFM.NUM_NEGATIVES = 96
    cfg.MODEL.RFM.NUM_TRIPLETS = 128
    # A positive region overlaps a ground-truth box by more than this IoU (paper: 0.5).
    cfg.MODEL.RFM.POSITIVE_IOU = 0.5
    # A negative region overlaps every co-salient box by less than this IoU (paper: 0.1).
    cfg.MODEL.RFM.NEGATIVE_IOU = 0.1
    # A region contains an object when it covers more than this share of the object's box (ours).
    cfg.MODEL.RFM.CONTAIN_SHARE = 0.5
    # Range of the areas of generated regions, as side lengths in input pixels (paper: 128 to 512).
    cfg.MODEL.RFM.REGION_SIDES = (128.0, 512.0)
    # Range of width over height of generated regions (paper: 0.5 to 2).
    cfg.MODEL.RFM.REGION_ASPECTS = (0.5, 2.0)
    # Jitter of ground-truth boxes: largest offset as a share of the side, and range of the scale
    # factor of each side (the paper says "a certain range").
    cfg.MODEL.RFM.JITTER_OFFSET = 0.25
    cfg.MODEL.RFM.JITTER_SCALE = (0.75, 1.35)
    # Online: regions kept before and after non-maximum suppression, ranked by training loss (ours).
    cfg.MODEL.RFM.PRE_NMS_TOPK = 2000
    cfg.MODEL.RFM.POST_NMS_TOPK = 512
    # Online: IoU above which the easier of two regions is suppressed (paper: "highly overlapping").
    cfg.MODEL.RFM.NMS_THRESH = 0.7

    # An extension of the paper: RPN's regions are compared with each other at test time too,
    # and a gate leaves of the foreground what belongs together.
    cfg.MODEL.GROUPING = CN()
    cfg.MODEL.GROUPING.ENABLED = False
    # The encoder's features from which regions get masks; empty for those at strides 4 to 16
    # (ours).
    cfg.MODEL.GROUPING.LEVELS = ()
    # Those which are pooled and compared; empty for all of LEVELS (ours).
    cfg.MODEL.GROUPING.COMPARED_LEVELS = ()
    # RPN regions that are compared, an image (ours).
    cfg.MODEL.GROUPING.NUM_REGIONS = 48
    # IoU above which the less object-like of two such regions is dropped (ours).
    cfg.MODEL.GROUPING.NMS_THRESH = 0.6
    # Two regions are one object when they share more than this of the smaller one (ours).
    cfg.MODEL.GROUPING.SAME_OBJECT_SHARE = 0.5
    # Masks of regions: channels that each level is reduced to, a multiple of 8, and width of the
    # head (ours).
    cfg.MODEL.GROUPING.MASK_LATERAL = 64
    cfg.MODEL.GROUPING.MASK_WIDTH = 128
    # Width of the network that judges a region's evidence (ours).
    cfg.MODEL.GROUPING.HIDDEN = 32
    # Ground-truth boxes join the training, jittered: largest offset as a share of the side, and
    # range of the scale factor of each side (ours).
    cfg.MODEL.GROUPING.JITTER_OFFSET = 0.1
    cfg.MODEL.GROUPING.JITTER_SCALE = (0.85, 1.2)
    # Weight of loss_group, loss_pair and loss_repeats (ours).
    cfg.MODEL.GROUPING.LOSS_WEIGHT = 1.0
    # At test time a map has to decide: a verdict's logit minus THRESHOLD times SHARPNESS, and the
    # foreground's logit times FOREGROUND_SHARPNESS (ours).
    cfg.MODEL.GROUPING.SHARPNESS = 4.0
    cfg.MODEL.GROUPING.THRESHOLD = 0.5
    cfg.MODEL.GROUPING.FOREGROUND_SHARPNESS = 5.0
    # What each unit of CIELAB by which a region's colour is odd among its like takes from its
    # logit; 0 for none, and colours part no pairs either (ours).
    cfg.MODEL.GROUPING.ODD_COLOUR_WEIGHT = 0.2
    # Least probability that anything repeats in a picture; below it the map is empty (ours).
    cfg.MODEL.GROUPING.REPEATS_THRESHOLD = 0.0
    # Instances: least score, which is objectness times membership in a group times certainty of the
    # mask; and the mean resemblance of two groups at which they are one, of an exemplar's group the
    # least resemblance to it (ours).
    cfg.MODEL.GROUPING.INSTANCE_THRESHOLD = 0.3
    cfg.MODEL.GROUPING.PAIR_THRESHOLD = 0.5


def _add_augmentation_keys(cfg: CfgNode, CN: type) -> None:
    """Add the keys to ``cfg`` in place; all are off by default."""
    # The paper names random object clipping and random occlusion without any number.
    cfg.INPUT.OBJECT_CROP = CN()
    # Probability that a training picture is cut to a window; 0 turns it off (ours).
    cfg.INPUT.OBJECT_CROP.PROB = 0.0
    # Range of the window's sides over the picture's (ours).
    cfg.INPUT.OBJECT_CROP.SIZES = (0.5, 0.9)
    # Range of the window's width over height, over the picture's (ours).
    cfg.INPUT.OBJECT_CROP.ASPECTS = (0.85, 1.18)
    # The window holds at least this share of a co-salient instance, or nothing of it (ours).
    cfg.INPUT.OBJECT_CROP.MIN_SHARE = 0.5
    # Co-salient instances that the window holds, at least 2 (ours).
    cfg.INPUT.OBJECT_CROP.MIN_OBJECTS = 2

    cfg.INPUT.OCCLUSION = CN()
    # Probability that patches hide parts of a training picture's objects; 0 turns it off (ours).
    cfg.INPUT.OCCLUSION.PROB = 0.0
    # Most patches on a picture (ours).
    cfg.INPUT.OCCLUSION.MAX_PATCHES = 3
    # All patches together hide at most this share of an object's area (ours).
    cfg.INPUT.OCCLUSION.MAX_SHARE = 0.4
    # What a patch shows, drawn for each: "noise", "mean", "background" (ours).
    cfg.INPUT.OCCLUSION.FILLS = FILLS

    # Composites on the fly: cut-outs of the training set pasted on free ground of its photographs.
    cfg.INPUT.COMPOSITES = CN()
    # Probability that a training sample is a composite; 0 for none (ours).
    cfg.INPUT.COMPOSITES.PROB = 0.0
    # Smallest and largest number of objects of a group, and of single objects beside it (ours).
    cfg.INPUT.COMPOSITES.OBJECTS = (2, 6)
    cfg.INPUT.COMPOSITES.DISTRACTORS = (0, 4)
    # Share of composites in which nothing repeats; with SINGLES half of these are photographs of a
    # single object (ours).
    cfg.INPUT.COMPOSITES.NO_GROUP = 0.25
    # Share of the other composites in which two classes repeat, where there are enough (ours).
    cfg.INPUT.COMPOSITES.TWO_GROUPS = 0.0
    # Probability that a photograph with a group gets a single object of another class pasted beside
    # it; 0 for none (ours).
    cfg.INPUT.COMPOSITES.PASTE_PROB = 0.0
    # Datasets of single objects: more cut-outs, and photographs in which nothing repeats (ours).
    cfg.INPUT.COMPOSITES.SINGLES = ()
    # Folder of further cut-outs, pictures with alpha that are named by their class (ours).
    cfg.INPUT.COMPOSITES.SPRITES = ""
