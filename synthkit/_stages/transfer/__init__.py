"""Transfer by optimisation: a sound changed until a trained critic hears the content of one clip and the style of another in it."""
