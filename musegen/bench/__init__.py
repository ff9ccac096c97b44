"""Measurements beside other programs: a peer is imported if it is installed and named if it is not."""
