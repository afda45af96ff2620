"""Per-Pcs Studio: personal language models assembled from pieces that other people share."""

__version__ = "0.1.0"
