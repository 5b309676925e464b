"""Griffin-Lim: the vocoder that learns nothing. A shipped plugin of synthkit."""
