"""Training and evaluation: everything of kdbench that imports torch, but the kernels."""
