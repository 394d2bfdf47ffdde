"""The registry, and what readers see of an entry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bounds.catalogue
from bounds import catalogue
from bounds.catalogue.describe import to_latex, to_markdown, to_text, used_parts
from bounds.catalogue.entry import Bound
from bounds.errors import InputError

TWELVE = {
    "golowich2018_frobenius",
    "golowich2018_l1inf",
    "neyshabur2015_frobenius",
    "bartlett2017_spectral",
    "neyshabur2018_pacbayes",
    "xiao2023_robust_pacbayes",
    "parametric_cover",
    "jacobian_surrogate",
    "yin2019_linear_linf",
    "awasthi2020_linear",
    "graf2022_excess_capacity",
    "holdout_binomial",
}


def test_the_twelve_of_the_theory_and_the_second_holdout() -> None:
    assert set(catalogue.keys()) == TWELVE | {"holdout_bernstein"}


def test_every_file_is_an_entry_under_its_own_name() -> None:
    files = {path.stem for path in Path(bounds.catalogue.__file__).parent.glob("*.py")}
    assert files - bounds.catalogue.NOT_ENTRIES - {"__init__"} == set(catalogue.keys())
    assert all(catalogue.get(key).key == key for key in catalogue.keys())


def test_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'bartlett2017_spectral'"):
        catalogue.get("bartlet2017_spectral")


@pytest.mark.parametrize("key", catalogue.keys())
def test_pages_name_every_part_assumption_and_step(key: str) -> None:
    entry = catalogue.get(key)
    text, markdown, latex = to_text(entry), to_markdown(entry), to_latex(entry)
    for page in (text, markdown):
        assert entry.title in page and entry.reference.citation in page
    for variant in entry.variants:
        if not isinstance(variant, Bound):
            continue
        for part in used_parts(variant):
            assert part.meaning in text and part.meaning in markdown
        for assumption in variant.assumptions:
            assert assumption.statement in text and assumption.statement in markdown
        for _, step in variant.gap.step.walk():
            assert step.name in text and step.name in markdown
            # what is ours is said to be ours, and nothing else is
            assert step.derived == step.source.startswith("own ")
    assert "\\" not in text  # no LaTeX in a terminal
    assert latex.count(r"\begin{") == latex.count(r"\end{") and balanced(latex)


def balanced(latex: str) -> bool:
    bare = re.sub(r"\\.", "", latex)  # escaped braces, and line breaks before a brace
    return bare.count("{") == bare.count("}")


def test_notebook_forms() -> None:
    entry = catalogue.get("bartlett2017_spectral")
    assert entry._repr_latex_().startswith("$") and "Bartlett" in entry._repr_html_()


def test_published_results_have_bibtex_and_own_derivations_say_so() -> None:
    for entry in catalogue.entries():
        assert entry.reference.bibtex.startswith("@") or "own derivation" in entry.reference.citation
