"""How the methods' forwards are run: the same numbers, sooner."""
