"""The ledger: what was seen, who said what about it, and what followed; append-only where it matters.

Every module is a set of functions that take a :class:`~data_contracts.ledger.connect.Ledger` first:

=================== ==========================================================================================
``connect``         open and close; the key; migrations at open
``roots``           folders under which image files lie
``images``          distinct images, where they were seen, their groups; look-up by any id
``image_names``     every name an image goes by, for looking many up at once
``given_splits``    the split that a user's column gives an image
``quarantine``      files that were set aside, and why
``near_duplicates`` pairs of images that look the same
``conflicts``       statements that cannot both be true
``events``          append label events; read them
``fold``            from events to current labels
``taxonomies``      versions of the classes
``splits``          which split an image belongs to, for ever
``datasets``        dataset versions
``promotions``      looks of the gate, moves of an alias
``approvals``       promotions that wait for a lead, and the lead's answers
``verify``          is everything still as it was written?
=================== ==========================================================================================
"""
