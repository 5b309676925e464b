"""How good is what a converter makes: `content` measures, the others gather what is measured and say it."""
