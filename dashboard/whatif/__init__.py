"""What-if on one picture: edits that stack, and the smallest region that turns the network's call."""
