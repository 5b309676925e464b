"""GTZAN (Tzanetakis & Cook 2002), 1,000 excerpts of ten genres, with its published splits and its known faults, for synthkit."""
