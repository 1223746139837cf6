"""The networks of the paper's Table 2 as decoders. Importing this registers them."""

from cosal_d2.modeling.methods.cpfe import CPFEDecoder
from cosal_d2.modeling.methods.dcl import DCLDecoder
from cosal_d2.modeling.methods.picanet import PiCANetDecoder
from cosal_d2.modeling.methods.rfcn import RFCNDecoder

__all__ = ["CPFEDecoder", "DCLDecoder", "PiCANetDecoder", "RFCNDecoder"]
