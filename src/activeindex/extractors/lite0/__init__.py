"""The package's own descriptor, trained for copy detection and for being indexed and activated.

EfficientNet-Lite0 (:mod:`trunk`), GeM pooling and a linear layer (:mod:`descriptor`), kept in
float16 (:mod:`files`). ``training/`` at the root of the repository makes the weights.
"""

from activeindex.extractors.lite0.descriptor import DIMENSION, Descriptor, folded
from activeindex.extractors.lite0.files import (
    DescriptorFile,
    load_lite0,
    read_descriptor,
    write_descriptor,
)
from activeindex.extractors.lite0.trunk import MEAN, STD, EfficientNetLite0

__all__ = [
    "DIMENSION",
    "MEAN",
    "STD",
    "Descriptor",
    "DescriptorFile",
    "EfficientNetLite0",
    "folded",
    "load_lite0",
    "read_descriptor",
    "write_descriptor",
]
