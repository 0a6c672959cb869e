"""VGGT's published weights and random ones."""
