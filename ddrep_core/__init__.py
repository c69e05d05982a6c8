"""ddrep: sample differentiable representations from a pretrained image diffusion model."""
