"""The FMA data set for synthkit."""
