"""cMelGAN (2022): a conditional convolutional GAN on mel spectrograms."""
