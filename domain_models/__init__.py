"""What a model is and what it decides."""
