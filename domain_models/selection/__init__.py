"""Which images to ask people about: numpy in, numpy out, no network in sight.

``pool``               what a strategy may look at, and what it gives back
``uncertainty``        by what a model predicts: low confidence, small margin, confused pairs, rare classes
``mapped_embeddings``  embeddings of a million images, read from a file a block at a time
``neighbours``         directions, and how far images are from what has a label
``embedding_space``    by where images lie: novelty, diversity, and the cold start without any model
``labels_in_doubt``    labelled images that a person should look at again: suspect labels, conflicts
``strategies``         the table of all strategies, the default mix, and the random audit
"""
