"""What others report on the same sets, and by which protocol: to stand beside our figures, not to be compared digit by
digit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFigure:
    """``figure`` as its source states it; ``protocol`` says what makes it another question than ours."""

    set: str
    figure: str
    source: str
    protocol: str


PUBLISHED = (
    PublishedFigure(
        "elpv",
        "accuracy 88.4%, defective or not (CNN); 82.4% (SVM)",
        "Deitsch et al., Solar Energy 185, 2019",
        "two classes; 1,968 cells for training and 656 for testing, one split; trained on a GPU",
    ),
    PublishedFigure(
        "x-sdd",
        "accuracy 95.1%, macro-F1 93.3% (RepVGG with spatial attention)",
        "Feng, Gao and Luo, Symmetry 13(4), 2021",
        "one split, trained on a GPU; nothing is said of near duplicates, which our splits keep together",
    ),
    PublishedFigure(
        "ham10000",
        "balanced accuracy 74.2% in cross-validation, 63.6% on the hidden test set (an ensemble of EfficientNets)",
        "Gessert et al., ISIC 2019, arXiv:1910.03910",
        "25,000 images of eight classes, HAM10000 among them, and external data; the hidden test has a ninth",
    ),
)
