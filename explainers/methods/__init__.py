"""One file a method; each registers itself. Modules whose name starts with an underscore are shared helpers."""
