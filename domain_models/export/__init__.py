"""Trained networks as artefacts for other runtimes and precisions; none leaves without passing the parity gate."""
