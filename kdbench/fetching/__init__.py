"""Data that ordinary clients bring: what is declared, where it is kept, how it comes, what is prepared from it."""
