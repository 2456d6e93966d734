"""Recipes that made the shipped weights; nothing here is imported by the app."""
