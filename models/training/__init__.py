"""Recipes that made the shipped weights; the app uses none of it but ``splits``, to know the test cases."""
