"""`make demo`: the main job, end to end, on the lab, each result checked by another path."""
