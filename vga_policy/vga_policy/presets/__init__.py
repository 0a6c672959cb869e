"""The models that have a name: their size, what encodes their instructions, how they are trained."""
