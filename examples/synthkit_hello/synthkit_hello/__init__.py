"""A third-party plugin of synthkit: the vocoder `sine-bank`."""
