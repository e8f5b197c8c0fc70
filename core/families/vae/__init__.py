"""Autoencoders: latent variables or codes, an encoder and a decoder, and bounds on the likelihood."""
