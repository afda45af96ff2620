"""Per-Pcs Studio: personal language models assembled from pieces that other people share."""

import os

# Set before torch is imported: busy-waiting worker threads slow everything a hundredfold when cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"
