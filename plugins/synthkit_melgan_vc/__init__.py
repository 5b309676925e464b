"""Audio style transfer: MelGAN-VC (Pasini 2019), TraVeLGAN on spectrogram pictures, and transfer by optimisation."""
