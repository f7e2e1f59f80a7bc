"""The leaderboards as pictures, PNG and SVG; matplotlib draws them."""
