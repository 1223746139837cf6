"""The networks of the paper's Table 2 as decoders. Importing this registers them."""

from cosal_d2.modeling.methods.dcl import DCLDecoder
from cosal_d2.modeling.methods.picanet import PiCANetDecoder
from cosal_d2.modeling.methods.rfcn import RFCNDecoder

__all__ = ["DCLDecoder", "PiCANetDecoder", "RFCNDecoder"]
