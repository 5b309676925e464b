"""Audio style transfer: MelGAN-VC (Pasini 2019) and TraVeLGAN on spectrogram pictures."""
