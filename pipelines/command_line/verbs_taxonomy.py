"""``tailsight taxonomy``: recorded changes of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pipelines.command_line.context import JsonFlag, WhoOption, WhyOption, workspace_in_use
from pipelines.command_line.output import emit

if TYPE_CHECKING:
    from pipelines.steps.taxonomy import TaxonomyReport

app = typer.Typer(
    help="Rename, merge and split classes; recorded, and undone by another change.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class SeveralInto(TyperCommand):
    """Takes ``--into B C`` as people write it: every word up to the next option belongs to it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write ``--into B C`` as ``--into B --into C``."""
        spelled: list[str] = []
        after_into = fresh = False
        for word in args:
            if word == "--into":
                after_into = fresh = True
            elif word.startswith("--"):
                after_into = False
            elif after_into and not fresh:
                spelled.append("--into")
            fresh = word == "--into"
            spelled.append(word)
        return super().parse_args(ctx, spelled)


@app.command("rename")
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The class.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is called from now on; OLD stays an alias.")],
    by: WhoOption,
    why: WhyOption,
    json_output: JsonFlag = False,
) -> None:
    """Call a class by a new name; labels that say the old one still mean it."""
    from pipelines.steps.taxonomy import rename_class

    _emit(rename_class(workspace_in_use().require(), old, new, who=by, why=why), json_output)


@app.command("merge")
def merge(
    classes: Annotated[list[str], typer.Argument(metavar="A B ...", help="The classes that become one.")],
    into: Annotated[str, typer.Option("--into", metavar="C", help="One of them, another class, or a new name.")],
    by: WhoOption,
    why: WhyOption,
    json_output: JsonFlag = False,
) -> None:
    """Make one class of several; labels of each mean it from now on."""
    from pipelines.steps.taxonomy import merge_classes

    _emit(merge_classes(workspace_in_use().require(), classes, into, who=by, why=why), json_output)


@app.command("split", cls=SeveralInto)
def split(
    name: Annotated[str, typer.Argument(metavar="A", help="The class that is taken apart.")],
    into: Annotated[list[str], typer.Option("--into", metavar="B C ...", help="At least two classes; A may stay.")],
    by: WhoOption,
    why: WhyOption,
    json_output: JsonFlag = False,
) -> None:
    """Make several classes of one; its images wait until a person says which."""
    from pipelines.steps.taxonomy import split_class

    _emit(split_class(workspace_in_use().require(), name, into, who=by, why=why), json_output)


def _emit(report: TaxonomyReport, json_output: bool) -> None:
    from pipelines.command_line.summaries_taxonomy import summarise_change

    emit(report.model_dump(mode="json"), summarise_change, as_json=json_output)
