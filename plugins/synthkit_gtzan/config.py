"""Settings of the data set."""
