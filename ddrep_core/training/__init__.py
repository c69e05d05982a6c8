"""How small priors are trained."""
