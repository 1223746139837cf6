"""Pictures composed of real cut-outs: a repeated class and single distractors on free ground."""

from cosal_d2.prepare.composites.composer import Composer, write_composites

__all__ = ["Composer", "write_composites"]
