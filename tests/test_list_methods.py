"""`kdbench list methods` and the page of one method."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from kdbench.cli import main


def listed(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["list", "methods", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_methods_are_grouped_by_family_with_source_and_one_line_each(catalog):
    lines = listed().splitlines()
    families = [line.removesuffix(":") for line in lines if not line.startswith(" ")]
    assert families == list(dict.fromkeys(entry.metadata["family"] for entry in catalog.entries("method")))
    of_kd = next(line for line in lines if line.split()[0] == "kd")
    assert of_kd.split("  ")[1:] != []
    assert "Hinton et al. (2015)" in of_kd
    assert "softened probabilities" in of_kd
    before = lines[: lines.index(of_kd)]
    assert next(line for line in reversed(before) if not line.startswith(" ")) == "logit:"
    assert len(lines) == len(families) + len(catalog.entries("method"))


def test_the_page_of_a_method_shows_formula_parameters_needs_tasks_and_source():
    page = listed("lskd")
    assert "ce·CE + weight·T²·KL on z-scores" in page
    assert "Sun et al. (2024)" in page
    assert "the teacher's logits" in page
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in page.splitlines() if line.strip()}
    assert rows["temperature"] == "float > 0 2 1 to 8, log"
    assert rows["base"].startswith("one of kd, dkd kd –")
    assert rows["beta"].endswith("where base=dkd")
    assert rows["tasks"] == "multiclass"


def test_the_page_of_every_method_of_a_paper_says_where_in_the_paper_it_is(catalog):
    """By equation, algorithm, table or section; a section without a number by its title."""
    place = re.compile(r'\b(eqs?\.|algorithm|table) \d|\bsecs?\. [\d"]', re.IGNORECASE)
    papers = [entry for entry in catalog.entries("method") if re.search(r"\(\d{4}", entry.metadata.get("source", ""))]
    assert len(papers) > 60
    said = {entry.name: " ".join((vars(entry.load())["__doc__"] or "").split()) for entry in papers}
    assert [name for name, docstring in said.items() if not place.search(docstring)] == []


def test_the_page_tells_which_features_are_read_and_of_whom():
    assert "features middle of both models" in listed("fitnet")
    assert "labels alone" in listed("scratch")
    assert "no hyper-parameters" in listed("scratch")
    assert "the teacher itself, of which it makes the student" in listed("quant_dynamic")
    assert "first,middle,last" in listed("at")
    assert "a student with gradients at inputs of its own making" in listed("ard")
    assert "gradients at the input" in listed("jacobian")


def test_pages_as_json_are_for_programs():
    (kd, crd) = json.loads(listed("kd", "crd", "--json"))
    assert (kd["name"], kd["family"], kd["plugin"], kd["source"]) == ("kd", "logit", "classic", "Hinton et al. (2015)")
    assert {name for name, needed in kd["needs"].items() if needed} == {"logits"}
    assert crd["needs"]["student_features"] == ["penultimate"]
    temperature = kd["parameters"]["temperature"]
    assert temperature["search"] == {"low": 1, "high": 16, "log": True}
    assert (temperature["type"], temperature["range"], temperature["default"]) == ("float", "> 0", 4.0)
    assert temperature["schema"]["exclusiveMinimum"] == 0
    assert crd["parameters"]["size"]["search"] is None
    assert crd["parameters"]["momentum"]["search"]["when"] == ["pool", "bank"]


def test_every_method_has_a_page(catalog):
    pages = json.loads(listed(*(entry.name for entry in catalog.entries("method")), "--json"))
    assert all(page["description"] for page in pages)
    assert all("Meta(" not in json.dumps(page) for page in pages)


def test_an_unknown_name_is_refused_with_a_suggestion():
    assert "did you mean 'kd'" in listed("kdd", code=2)


@pytest.mark.parametrize("kind", ["combos", "datasets"])
def test_only_methods_have_pages(kind):
    result = CliRunner().invoke(main, ["list", kind, "digits"])
    assert result.exit_code == 2
    assert "kdbench list methods NAME" in result.output
