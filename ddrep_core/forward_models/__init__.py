"""Sampling signals that are never seen, only measured by a known differentiable map ("forward models")."""

from ddrep_core.forward_models.draw import Drawn, draw_signals, separate_pictures
from ddrep_core.forward_models.exact import GaussianSignals
from ddrep_core.forward_models.inversion import Patches, quarters, refined
from ddrep_core.forward_models.learn import ObservationLesson, SignalNetwork, learn_signals
from ddrep_core.forward_models.linear_network import LinearSignalNetwork
from ddrep_core.forward_models.prior import ForwardPrior
from ddrep_core.forward_models.protocol import Forward, SignalDenoiser

__all__ = [
    "Drawn",
    "Forward",
    "ForwardPrior",
    "GaussianSignals",
    "LinearSignalNetwork",
    "ObservationLesson",
    "Patches",
    "SignalDenoiser",
    "SignalNetwork",
    "draw_signals",
    "learn_signals",
    "quarters",
    "refined",
    "separate_pictures",
]
