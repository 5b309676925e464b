"""DCGAN and cGAN on small spectrograms."""
