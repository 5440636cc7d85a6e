"""The package's own descriptor, trained to be indexed and activated.

EfficientNet-Lite0 (:mod:`trunk`), GeM pooling and a linear layer (:mod:`descriptor`), kept in
float16 (:mod:`files`). ``training/`` at the root of the repository makes the weights.
"""
