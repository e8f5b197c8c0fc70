"""Latent-variable models: an encoder that infers what a decoder needs to know, and bounds on the likelihood."""
