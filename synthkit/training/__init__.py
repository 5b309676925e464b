"""Blocks that objectives are made of: the engine, seeded building, losses and the adversary."""
