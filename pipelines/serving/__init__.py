"""``tailsight serve``: the champion behind HTTP, with the functions that score batches."""
