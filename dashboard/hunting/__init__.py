"""Looking for failures of one network over many cases: shortcuts, fragility, maps that move from group to group."""
