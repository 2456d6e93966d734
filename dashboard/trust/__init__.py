"""Trust checks of the maps of a case: what is known of it, the checks in the background, their verdicts kept."""
