"""Pictures composed of real cut-outs: a repeated class and single distractors on free ground."""

from cosal_d2.prepare.composites.dataset import CompositeSpec, write_composites
from cosal_d2.prepare.composites.scene import Composer, CompositeOptions

__all__ = ["Composer", "CompositeOptions", "CompositeSpec", "write_composites"]
