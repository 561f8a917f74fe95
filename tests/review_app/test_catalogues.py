"""Every text is there in every language, and every text that the code asks for exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from data_contracts.errors import BadInput, NoSpace, Refused, Unreachable
from data_contracts.vocabulary import Action, ReviewReason, Role
from review_app.canvas.component import PARTS, script
from review_app.service import error_sentence
from review_app.texts import CANVAS, Language, Texts, catalogue, language_of

APP = Path(__file__).resolve().parents[2] / "review_app"
DYNAMIC = {
    "action_": ("accept", "keep", "undo", "back", "forward", "skip", "unsure", "bad_image", "return_to_readers"),
    "bad_": ("blurred", "too_dark", "wrong_part", "obstructed", "other"),
    "certainty_": ("sure", "likely", "guess"),
}


def _places(language: Language) -> set[str]:
    return {f"{section}.{key}" for section, texts in catalogue(language).items() for key in texts}


@pytest.mark.parametrize("language", list(Language))
def test_no_translation_is_missing_or_left_over(language: Language) -> None:
    assert _places(language) == _places(Language.ENGLISH)


@pytest.mark.parametrize("language", list(Language))
def test_a_translation_fills_in_the_same_values(language: Language) -> None:
    for place in _places(Language.ENGLISH):
        section, _, key = place.partition(".")
        names = [set(re.findall(r"\{(\w+)\}", catalogue(one)[section][key])) for one in (Language.ENGLISH, language)]
        assert names[0] == names[1], place


def test_chinese_is_chinese() -> None:
    english, chinese = Texts(Language.ENGLISH), Texts(Language.CHINESE)
    same = [place for place in _places(Language.ENGLISH) if english(place) == chinese(place)]
    assert set(same) <= {"app.title"}


def test_every_text_that_the_canvas_asks_for_is_in_its_catalogue() -> None:
    asked = set(re.findall(r"\bt\(\"([a-z_]+)\"", script()))
    asked |= set(re.findall(r"refuse\(this\.t\(\"([a-z_]+)\"", script()))
    asked |= {start + end for start, ends in DYNAMIC.items() for end in ends}
    asked |= {f"tool_{name}" for name in re.findall(r"this\.tool\(\"([a-z_]+)\"", script())}
    asked |= set(re.findall(r"return \"([a-z]+_[a-z_]+)\";", script()))
    known = set(catalogue(Language.ENGLISH)[CANVAS])
    assert asked - known == set()
    assert known - asked - set(re.findall(r"\"([a-z_]+)\"", script())) == set()


def test_every_text_that_python_asks_for_is_in_a_catalogue() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in APP.rglob("*.py"))
    asked = set(re.findall(r"texts\(\s*f?\"([a-z_]+\.[a-z_]+)\"", code))
    asked |= {f"reasons.{reason.value}{end}" for reason in ReviewReason for end in ("", "_detail")}
    asked |= {f"actions.{action.value}" for action in Action} | {f"app.role_{role.value}" for role in Role}
    assert asked - _places(Language.ENGLISH) == set()


def _situations() -> dict[str, set[str]]:
    """What errors name as their situation, and the facts that they give with it."""
    found: dict[str, set[str]] = {}
    for path in (APP.parent / "data_contracts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                name, facts = given.get("situation"), given.get("facts")
                if isinstance(name, ast.Constant):
                    keys = facts.keys if isinstance(facts, ast.Dict) else []
                    found[str(name.value)] = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    return found | {str(error.situation): set() for error in (Unreachable, NoSpace)}


def test_every_situation_of_an_error_has_a_text_for_its_facts() -> None:
    told = {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in catalogue(Language.ENGLISH)["situations"].items()}
    assert told == _situations()


def test_an_error_is_told_in_the_readers_language() -> None:
    error = Refused(
        "Ann is reader here; this needs the role adjudicator.",
        remedy="Ask a lead to make Ann adjudicator.",
        situation="role_needed",
        facts={"who": "Ann", "held": "reader", "role": "adjudicator"},
    )
    chinese = error_sentence(error, Texts(Language.CHINESE))
    assert chinese == "未保存。Ann在此为判读者，此操作需要仲裁人角色。请联系负责人。"
    nameless = BadInput("Nobody named this.", remedy="Go on.")
    assert error_sentence(nameless, Texts(Language.CHINESE)) == "未保存。Nobody named this. Go on."


def test_all_parts_of_the_script_are_listed() -> None:
    assert sorted(PARTS) == sorted(path.name for path in (APP / "canvas" / "parts").glob("*.js"))


@pytest.mark.parametrize(
    ("locale", "language"), [("zh-CN", "zh"), ("zh", "zh"), ("en-GB", "en"), ("de-DE", "en"), (None, "en")]
)
def test_the_browsers_language_is_taken_where_there_is_a_catalogue(locale: str | None, language: str) -> None:
    assert language_of(locale) == language


def test_nothing_is_fetched_from_elsewhere() -> None:
    files = [*APP.rglob("*.js"), *APP.rglob("*.css"), *APP.rglob("*.py")]
    addresses = [a for path in files for a in re.findall(r"https?://[\w.-]+", path.read_text(encoding="utf-8"))]
    assert set(addresses) <= {"http://www.w3.org"}, "only the name of the SVG name space, which is never fetched"
