"""How good is what a model makes: `figures` and `likeness` measure, the others gather what is measured and say it."""
