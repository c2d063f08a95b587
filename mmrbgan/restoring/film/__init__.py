"""Films: faces followed from frame to frame, restored steadily, with sound and timestamps as they came."""
