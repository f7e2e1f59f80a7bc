"""The page while a run goes on: a server on this machine alone, which tells open pages what is new in a store."""
