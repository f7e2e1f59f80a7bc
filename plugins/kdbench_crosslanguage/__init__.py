"""Text and sentence embeddings across languages."""
