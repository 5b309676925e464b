"""The GTZAN data set for synthkit."""
