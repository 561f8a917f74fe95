"""What a record is: the contracts, the ledger, and the only decoder of image files."""
