"""MelNet (Vasquez and Lewis, 2019): an autoregressive model of spectrograms."""
