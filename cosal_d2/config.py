"""Configuration keys of cosal_d2 on top of Detectron2's defaults.

Every key says what it means, its unit, and whether its value comes from the paper (arXiv
1910.11819) or is a choice that the paper leaves open.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cosal_d2.utils.requirements import require_detectron2

if TYPE_CHECKING:
    from detectron2.config import CfgNode

DEFAULT_CONFIG = "cosal_r50.yaml"  # of predictions
DTYPES = ("float32", "bfloat16", "float16")
OPTIMIZERS = ("SGD", "ADAMW")
MEASURES = ("paper", "fast", "all")
LOWER_IS_BETTER = ("MAE", "count_error")
BEST_METRICS = ("F0.3", "F1", "adpF", "P", "R", "object_recall", "box_recall", *LOWER_IS_BETTER)
RESULTS = ("map", "mask", "overlay", "cutout", "objects", "json", "csv")  # of a prediction
FILLS = ("noise", "mean", "background")  # of random occlusion
MASK_GROUPS = 8  # of the normalisation in MODEL.GROUPING's masks


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
    # Weight of loss_group and loss_pair (ours).
    cfg.MODEL.GROUPING.LOSS_WEIGHT = 1.0
    # At test time a map has to decide: a verdict's logit minus THRESHOLD times SHARPNESS, and the
    # foreground's logit times FOREGROUND_SHARPNESS (ours).
    cfg.MODEL.GROUPING.SHARPNESS = 4.0
    cfg.MODEL.GROUPING.THRESHOLD = 0.5
    cfg.MODEL.GROUPING.FOREGROUND_SHARPNESS = 5.0
    # What each unit of CIELAB by which a region's colour is odd among its like takes from its
    # logit, 0 for none (ours).
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
    # Probability that a photograph with a group gets a single object of another class pasted beside
    # it; 0 for none (ours).
    cfg.INPUT.COMPOSITES.PASTE_PROB = 0.0
    # Datasets of single objects: more cut-outs, and photographs in which nothing repeats (ours).
    cfg.INPUT.COMPOSITES.SINGLES = ()
    # Folder of further cut-outs, pictures with alpha that are named by their class (ours).
    cfg.INPUT.COMPOSITES.SPRITES = ""


def get_cosal_config(config_file: str = "", opts: list[str] | None = None) -> CfgNode:
    """Build a config: Detectron2's defaults, cosal_d2's keys, a yaml file, then ``KEY VALUE``
    pairs.

    Args:
        config_file: a path, or the name of a shipped config such as ``"cosal_vgg16.yaml"``. Its
            ``_BASE_`` is a file beside it, or else the shipped config of that name.
        opts: alternating keys and values, as on a Detectron2 command line.

    Raises:
        FileNotFoundError: no such file, and no shipped config of that name.
        ValueError: the file is no yaml, a key is unknown, or has a value that the network cannot be
            built with, or ``opts`` ask for a device that is not here. One that only the file or
            Detectron2's default names becomes the CPU.
    """
    require_detectron2()
    import torch
    import yaml
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_cosal_config(cfg)
    if config_file:
        config_file = find_config(config_file)
        try:
            cfg.merge_from_other_cfg(_read_config(config_file))
        except (AssertionError, AttributeError, KeyError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).strip("\"'").split())
            raise ValueError(f"config file {config_file}: {reason}") from error
        _check_is_whole(cfg, config_file)
    for option in opts or []:
        if str(option).startswith("--"):
            raise ValueError(f"{option}: options go before the config changes KEY VALUE ...")
    try:
        cfg.merge_from_list(list(opts or []))
    except (AssertionError, KeyError) as error:
        raise ValueError(f"config changes {' '.join(map(str, opts))}: {error}") from error
    if "MODEL.DEVICE" in list(opts or [])[::2]:
        check_device(cfg.MODEL.DEVICE)
    elif cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    check_config(cfg)
    return cfg


def check_device(name: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ValueError: see the message.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name}: torch knows no such device; use cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name}: torch finds no GPU here; use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name}: torch finds {torch.cuda.device_count()} here; they count from cuda:0"
        )


def _read_config(path: str) -> CfgNode:
    """The yaml file with its bases; it can hold plain values alone."""
    from detectron2.config import CfgNode

    class Reader(CfgNode):
        @classmethod
        def _open_cfg(cls, filename: str):
            if not os.path.isfile(filename):
                parts = filename.split("/")
                nested = "/".join(parts[-2:])  # of a folder of the shipped ones
                filename = find_config(nested if nested in shipped_configs() else parts[-1])
            return super()._open_cfg(filename)

    return CfgNode(Reader.load_yaml_with_base(path))


def _check_is_whole(cfg: CfgNode, config_file: str) -> None:
    """Refuse a file that leaves the architecture to Detectron2's default.

    Raises:
        ValueError: neither it nor a base of it names one.
    """
    from detectron2.config import get_cfg

    network = cfg.MODEL.META_ARCHITECTURE
    if network == get_cfg().MODEL.META_ARCHITECTURE:
        raise ValueError(
            f"config file {config_file}: MODEL.META_ARCHITECTURE is Detectron2's default, "
            f'{network}: begin the file with _BASE_: "Base-CoSal.yaml", or another config that has '
            "this base (the columns of configs/ablation/ are trained by `cosal paper table1`)"
        )


def find_config(name: str) -> str:
    """Path of a config file given as a path or as the name of a shipped config.

    Raises:
        FileNotFoundError: naming the shipped configs.
    """
    if os.path.isfile(name):
        return name
    shipped = os.path.join(config_folder(), name if name.endswith(".yaml") else name + ".yaml")
    if os.path.isfile(shipped):
        return shipped
    known = ", ".join(shipped_configs())
    raise FileNotFoundError(f"no config file {name!r}; give a path or one of: {known}")


def shipped_configs() -> list[str]:
    """Names of the shipped configs that a command takes, those of the compared methods last."""
    folder = config_folder()
    return [
        f"{prefix}{name}"
        for prefix in ("", "methods/")
        for name in sorted(os.listdir(os.path.join(folder, prefix)))
        if name.endswith(".yaml")
    ]


def config_folder() -> str:
    """The folder of shipped configs: ``configs/`` of a clone, or its copy inside an installed
    wheel."""
    package = os.path.dirname(os.path.abspath(__file__))
    for folder in (os.path.join(os.path.dirname(package), "configs"), f"{package}/configs"):
        if os.path.isfile(os.path.join(folder, "Base-CoSal.yaml")):
            return folder
    raise FileNotFoundError(f"no configs beside or inside {package}: reinstall cosal_d2")


def check_config(cfg: CfgNode) -> None:
    """Refuse combinations that cannot be built, naming the key and the fix.

    Raises:
        ValueError: see the message.
    """
    if cfg.MODEL.DTYPE not in DTYPES:
        raise ValueError(f"MODEL.DTYPE is {cfg.MODEL.DTYPE!r}; use one of {', '.join(DTYPES)}")
    if cfg.SOLVER.OPTIMIZER not in OPTIMIZERS:
        raise ValueError(
            f"SOLVER.OPTIMIZER is {cfg.SOLVER.OPTIMIZER!r}; use one of {', '.join(OPTIMIZERS)}"
        )
    if cfg.TEST.MEASURES not in MEASURES:
        raise ValueError(
            f"TEST.MEASURES is {cfg.TEST.MEASURES!r}; use one of {', '.join(MEASURES)}"
        )
    if cfg.TEST.BEST_METRIC not in ("", *BEST_METRICS):
        raise ValueError(
            f"TEST.BEST_METRIC is {cfg.TEST.BEST_METRIC!r}; use one of {', '.join(BEST_METRICS)}, "
            'or "" for none'
        )
    if cfg.SOLVER.GRADIENT_PARTS < 1 or cfg.SOLVER.CHECKPOINTS_KEPT < 0:
        raise ValueError(
            f"SOLVER.GRADIENT_PARTS is {cfg.SOLVER.GRADIENT_PARTS}, to be 1 or more, and "
            f"SOLVER.CHECKPOINTS_KEPT {cfg.SOLVER.CHECKPOINTS_KEPT}, to be 0 or more"
        )
    if cfg.MODEL.RFM.SAMPLER and not cfg.MODEL.FEATURE_SENSITIVE.ENABLED:
        raise ValueError(
            "MODEL.RFM.SAMPLER needs the feature-sensitive block, which it trains: set "
            'MODEL.FEATURE_SENSITIVE.ENABLED True, or MODEL.RFM.SAMPLER ""'
        )
    _check_grouping(cfg)
    if cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE != "smooth_l1":
        raise ValueError(
            f"MODEL.RPN.BBOX_REG_LOSS_TYPE is {cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE!r}; regions are "
            'ranked by "smooth_l1" (eq. 8), so use that'
        )
    if cfg.SOLVER.AMP.ENABLED:
        raise ValueError("SOLVER.AMP.ENABLED is not used here: set MODEL.DTYPE and leave it False")
    decoder = cfg.MODEL.DECODER
    lengths = {key: len(decoder[key]) for key in ("CHANNELS", "NUM_CONVS", "SKIP_CHANNELS")}
    if decoder.SKIPS:
        lengths["SKIPS"] = len(decoder.SKIPS)
    if len(set(lengths.values())) != 1:
        raise ValueError(f"MODEL.DECODER's lists need one entry a level each, but have {lengths}")
    _check_augmentations(cfg)


def _check_grouping(cfg: CfgNode) -> None:
    keys = cfg.MODEL.GROUPING
    if not keys.ENABLED:
        return
    if cfg.MODEL.RFM.SAMPLER != "OnlineSampler":
        raise ValueError(
            "MODEL.GROUPING compares RPN's regions by their embeddings: set MODEL.RFM.SAMPLER "
            '"OnlineSampler", or MODEL.GROUPING.ENABLED False'
        )
    if keys.MASK_LATERAL < 1 or keys.MASK_LATERAL % MASK_GROUPS:
        raise ValueError(
            f"MODEL.GROUPING.MASK_LATERAL is {keys.MASK_LATERAL}; use a multiple of {MASK_GROUPS}"
        )
    if keys.ODD_COLOUR_WEIGHT < 0:
        raise ValueError(
            f"MODEL.GROUPING.ODD_COLOUR_WEIGHT is {keys.ODD_COLOUR_WEIGHT}; use 0.0 or more"
        )


def _check_augmentations(cfg: CfgNode) -> None:
    """Refuse values that no augmentation can be built with.

    Raises:
        ValueError: naming the key and what it may be.
    """
    crop, occlusion, composites = (
        cfg.INPUT[group] for group in ("OBJECT_CROP", "OCCLUSION", "COMPOSITES")
    )
    rules = {
        "OBJECT_CROP.PROB": (0 <= crop.PROB <= 1, "a probability"),
        "OBJECT_CROP.SIZES": (_is_range(crop.SIZES, 1), "a range (low, high) inside (0, 1]"),
        "OBJECT_CROP.ASPECTS": (_is_range(crop.ASPECTS), "a range (low, high) above 0"),
        "OBJECT_CROP.MIN_SHARE": (0 < crop.MIN_SHARE <= 1, "above 0 and at most 1"),
        "OBJECT_CROP.MIN_OBJECTS": (crop.MIN_OBJECTS >= 2, "2 or more"),
        "OCCLUSION.PROB": (0 <= occlusion.PROB <= 1, "a probability"),
        "OCCLUSION.MAX_PATCHES": (occlusion.MAX_PATCHES >= 1, "1 or more"),
        "OCCLUSION.MAX_SHARE": (0 < occlusion.MAX_SHARE < 1, "between 0 and 1"),
        "OCCLUSION.FILLS": (
            bool(occlusion.FILLS) and set(occlusion.FILLS) <= set(FILLS),
            f"a list of some of {', '.join(FILLS)}",
        ),
        "COMPOSITES.PROB": (0 <= composites.PROB <= 1, "a probability"),
        "COMPOSITES.NO_GROUP": (0 <= composites.NO_GROUP <= 1, "a share, 0 to 1"),
        "COMPOSITES.PASTE_PROB": (0 <= composites.PASTE_PROB <= 1, "a probability"),
        "COMPOSITES.OBJECTS": (
            _are_counts(composites.OBJECTS, 2),
            "a range (low, high) of 2 to 12 objects",
        ),
        "COMPOSITES.DISTRACTORS": (
            _are_counts(composites.DISTRACTORS, 0),
            "a range (low, high) of 0 to 12 objects",
        ),
    }
    for key, (usable, wanted) in rules.items():
        if not usable:
            group, name = key.split(".")
            raise ValueError(f"INPUT.{key} is {cfg.INPUT[group][name]!r}; make it {wanted}")


def _is_range(values: tuple[float, ...], most: float = float("inf")) -> bool:
    return len(values) == 2 and 0 < values[0] <= values[1] <= most


def _are_counts(values: tuple[int, ...], least: int) -> bool:
    whole = all(isinstance(value, int) for value in values)
    return whole and len(values) == 2 and least <= values[0] <= values[1] <= 12
