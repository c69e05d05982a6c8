"""The method: one readable loop, noise levels and jumps, noise fields, pull-back solvers."""

from ddrep_core.noise.fields import CommonNoise, MixedNoise, NoiseField, ViewNoise
from ddrep_core.noise.matrix import MatrixNoise
from ddrep_core.sampling.disagreement import disagreement_map
from ddrep_core.sampling.given import Given, given_views, keeping
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.kernel import RadialKernel
from ddrep_core.sampling.learned_potential import LearnedPotential
from ddrep_core.sampling.look import Ask, Look
from ddrep_core.sampling.particle_guidance import ParticleGuidance
from ddrep_core.sampling.sample import Result, SamplerState, StepReport, sample
from ddrep_core.schedules.auto import Auto
from ddrep_core.schedules.grown import Grown
from ddrep_core.schedules.named import (
    RestartInterval,
    annealed_schedule,
    ddim_schedule,
    karras_levels,
    lower_levels,
    noise_levels,
    repaint_schedule,
    restart_schedule,
)
from ddrep_core.schedules.parse import parse_schedule
from ddrep_core.schedules.schedule import Schedule, Segment
from ddrep_core.schedules.steps import Plan, Setting, Walk

__all__ = [
    "Ask",
    "Auto",
    "CommonNoise",
    "Given",
    "Grown",
    "Guide",
    "LearnedPotential",
    "Look",
    "MatrixNoise",
    "MixedNoise",
    "NoiseField",
    "ParticleGuidance",
    "Plan",
    "RadialKernel",
    "RestartInterval",
    "Result",
    "SamplerState",
    "Schedule",
    "Segment",
    "Setting",
    "StepReport",
    "ViewNoise",
    "Walk",
    "annealed_schedule",
    "ddim_schedule",
    "disagreement_map",
    "given_views",
    "karras_levels",
    "keeping",
    "lower_levels",
    "noise_levels",
    "parse_schedule",
    "repaint_schedule",
    "restart_schedule",
    "sample",
]
