"""The leaderboards as one HTML file that opens from disk: what it holds is made here, the script is built in page/."""
