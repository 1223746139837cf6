"""What a key or an option may be, where that is one of a few."""

DEFAULT_CONFIG = "cosal_r50.yaml"  # of predictions
DTYPES = ("float32", "bfloat16", "float16")
OPTIMIZERS = ("SGD", "ADAMW")
MEASURES = ("paper", "fast", "all")
LOWER_IS_BETTER = ("MAE", "count_error")
BEST_METRICS = ("F0.3", "F1", "adpF", "P", "R", "object_recall", "box_recall", *LOWER_IS_BETTER)
RESULTS = ("map", "mask", "overlay", "cutout", "objects", "json", "csv")  # of a prediction
FILLS = ("noise", "mean", "background")  # of random occlusion
MASK_GROUPS = 8  # of the normalisation in MODEL.GROUPING's masks
