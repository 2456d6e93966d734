"""One file a system; each registers its :class:`~models.training.recipe.Recipe`."""
