"""The review: the only code that answers tasks. People meet it in the app, a simulated inspector in the demo.

Every module is a set of functions that take a :class:`~data_contracts.ledger.connect.Ledger` first:

==================== =========================================================================================
``records``          tasks, answers, receipts
``roles``            who may do what; enforced here, not by hidden buttons
``tasks``            rounds of tasks, look-up
``serving``          who gets which task next; leases
``decide``           an answer: label event and state of the task in one transaction
``undo``             take an answer back
``adjudicate``       readings that differ, and who settles them
``agreement``        kappa with its interval, override rate, what read-first answers changed
``progress_figures`` where the work stands
``search``           an image by any of its names, and everything that was said of it
``decisions_out``    final verdicts on their way out, once each
``standing``         the state of a task as it follows from its events
==================== =========================================================================================
"""
