"""MelGAN (Kumar et al. 2019): a vocoder that makes sound of log-mel features in one pass."""
