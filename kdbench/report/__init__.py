"""From records to leaderboards, and from leaderboards to text."""
