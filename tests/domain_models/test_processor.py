"""Whether two processors compute the same numbers: by the instructions that decide about rounding, by no others."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from domain_models import processor
from domain_models.processor import (
    DECISIVE,
    adds_8_bit_products_in_32_bits,
    computes_alike,
    instructions_in_words,
    processor_name,
)

OLD = "AMD EPYC fpu sse2 avx2 fma"
NEW = "AMD EPYC fpu sse2 avx2 fma avx512f avx512_vnni avx512_bf16"


def test_one_name_with_other_instructions_is_another_processor() -> None:
    assert not computes_alike(OLD, NEW)
    assert not computes_alike(NEW, OLD)
    assert instructions_in_words(OLD) == "avx2, fma"


def test_instructions_that_round_nothing_make_no_difference() -> None:
    assert computes_alike(OLD, "Intel Xeon fpu avx2 fma sha_ni")


def test_a_processor_of_which_nothing_is_known_is_like_no_other() -> None:
    assert computes_alike("", "")
    assert not computes_alike("", OLD)
    assert not computes_alike("arm", "i386")


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems do not list instructions in /proc/cpuinfo")
def test_this_processor_names_its_instructions() -> None:
    words = set(processor_name().split())
    listed = Path("/proc/cpuinfo").read_text().split()
    assert words & DECISIVE == set(listed) & DECISIVE != set()


def test_dot_products_of_8_bits_are_what_cannot_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, safe in ((OLD, False), (NEW, True), ("Neoverse asimd asimddp", True)):
        monkeypatch.setattr(processor, "processor_name", lambda name=name: name)
        assert adds_8_bit_products_in_32_bits() is safe
