"""DCGAN and cGAN on small spectrograms: one family of networks, three published members."""
