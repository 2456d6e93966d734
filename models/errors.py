"""The errors Sightline raises on purpose. Each message is one sentence: what, where, what to do."""


class SightlineError(Exception):
    """Root of all errors whose message may be shown to a user as it is."""


class DataError(SightlineError):
    """An image, table or folder cannot be used."""


class ModelError(SightlineError):
    """A model card, its weights or its network cannot be used."""


class ExplainError(SightlineError):
    """An explanation cannot be computed with this method, target or parameter."""


class Unavailable(SightlineError):
    """An optional library or resource is missing; the message says how to get it."""


class Cancelled(SightlineError):
    """The user stopped the work."""


class Busy(SightlineError):
    """Too much work waits already; asking again a little later helps."""
