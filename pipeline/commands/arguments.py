"""The arguments of each command of `span-distill`.

They are apart from the commands, which import torch, transformers or DVC: `--help` and a wrong argument answer at once.
A function has its command's name; the command's docstring is the description.
"""

import argparse
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from pipeline import paths
from pipeline.cli import output_file
from pipeline.names import HEADS
from pipeline.web.service.limits import Limits

DEFAULT = "by default %(default)s"
RUNS = "a revision, a DVC experiment, or `workspace`; by default HEAD, the workspace and every experiment"


def answers(parser: ArgumentParser) -> None:
    parser.add_argument("teacher", metavar="NAME", help="a key of teacher.models in params.yaml")
    parser.add_argument("--n-best", type=int, default=20, metavar="N", help="answers to each question, 1 to 20")
    parser.add_argument("--out", type=output_file, metavar="FILE", help="write there, not to standard output")


def ask(parser: ArgumentParser) -> None:
    parser.add_argument("questions", nargs="*", metavar="QUESTION")
    parser.add_argument("--context", type=Path, metavar="FILE", help="the text; by default, or with -, standard input")
    parser.add_argument("--batch", type=Path, metavar="FILE", help="questions and contexts as JSON Lines; - is stdin")
    parser.add_argument("--example", action="store_true", help="ask three of the student's validation questions")
    parser.add_argument("--out", type=output_file, metavar="FILE", help="write there, not to standard output")
    parser.add_argument("--student", default=str(paths.STUDENT), metavar="FOLDER|REV|EXP", help=DEFAULT)
    parser.add_argument("--n-best", type=int, default=1, metavar="N", help="answers to each question, 1 to 20")
    parser.add_argument("--json", action="store_true", help="print JSON Lines")


def cache(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print what is there, its size and the days since its last use")
    verify = commands.add_parser("verify", help="read every row and print all problems; exit code 1 if there are any")
    verify.add_argument(
        "folders", nargs="*", metavar="FOLDER", type=Path, help="folder of shards; default: the cache and data/logits"
    )
    prune = commands.add_parser("prune", help="delete what is cached; data/ does not change")
    choice = prune.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--teacher", metavar="NAME", help="one teacher's logits; NAME is the beginning of its name in `list`"
    )
    choice.add_argument("--unused-days", metavar="DAYS", type=days, help="everything unused for this many days")
    choice.add_argument("--all", action="store_true", help="everything")


def days(text: str) -> float:
    """An argparse type: a number of days."""
    if not 0 <= (number := float(text)) < float("inf"):  # also refuses nan, which no age exceeds
        raise argparse.ArgumentTypeError(f"{text} is not a number of days")
    return number


def compare(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="REV|EXP", help=RUNS)
    parser.add_argument("--baseline", metavar="REV|EXP", help="by default the first run")
    parser.add_argument("--slices", action="store_true", help="scores on slices of the questions, not the leaderboard")
    parser.add_argument("--format", choices=("markdown", "csv", "json"), default="markdown")
    parser.add_argument("--out", metavar="FILE", type=output_file, help="write there, not to the terminal")


def cost(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="REV|EXP", help=f"{RUNS}, one seed of each setting")
    parser.add_argument("--again", action="store_true", help="measure again what was measured on this machine")


def export(parser: ArgumentParser) -> None:
    parser.add_argument("student", metavar="FOLDER", type=Path, help=f"such as {paths.STUDENT}")
    parser.add_argument("--format", choices=["onnx"], default="onnx")
    parser.add_argument("--quantize", choices=["int8"], help="write this file too: a quarter of the size")
    parser.add_argument(
        "--reduce-range",
        choices=["auto", "yes", "no"],
        default="auto",
        help="7-bit weights, for x86 CPUs without VNNI; auto: if this is one",
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("export"), help=DEFAULT)
    parser.add_argument("--score", action="store_true", help="score and time the files on the validation questions")
    parser.add_argument(
        "--examples", action="store_true", help="include the student's examples, which are validation questions"
    )


def page(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="an exported student")
    parser.add_argument("--out", metavar="FILE", type=output_file, default=Path("page.html"), help=DEFAULT)
    parser.add_argument(
        "--precision",
        choices=["int8", "float32"],
        help="of the model; by default int8, or float32 if that is all there is",
    )


def publish(parser: ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument("--student", default="workspace", metavar="REV|EXP", help=DEFAULT)
    parser.add_argument("--license", metavar="ID", help="of your student, as the hub names it: mit, cc-by-sa-4.0")
    parser.add_argument("--language", metavar="CODE", help="such as en")
    parser.add_argument("--push", metavar="USER/NAME", help="upload the folder to this model of the hub")
    parser.add_argument("--private", action="store_true", help="with --push: a model that others do not see")
    parser.add_argument(
        "--examples", action="store_true", help="include the student's examples, which are validation questions"
    )


def report(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="REV|EXP", help=RUNS)
    parser.add_argument("--baseline", metavar="REV|EXP", help="by default the first run")
    parser.add_argument("--out", metavar="FILE", type=output_file, default=Path("report.html"), help=DEFAULT)


def serve(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", metavar="FOLDER", type=Path, help=f"of a student, such as {paths.STUDENT}"
    )
    parser.add_argument("--teacher", metavar="FOLDER", type=Path, help="of a question-answering model, to compare with")
    parser.add_argument("--port", type=int, default=8000, help="by default 8000; 0 for any that is free")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, by default %(default)s")
    limits = parser.add_argument_group("limits")
    for field in fields(Limits):
        limits.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=positive(type(field.default)),
            default=field.default,
            metavar=field.metadata["unit"],
            help=f"{field.metadata['help']}; by default {field.default:,}",
        )


def positive(kind: type) -> Callable[[str], float]:
    """An argparse type: a positive number."""

    def number(text: str) -> float:
        if not 0 < (value := kind(text)) < float("inf"):
            raise ValueError
        return value

    number.__name__ = f"positive {kind.__name__}"  # in argparse's message
    return number


def show(parser: ArgumentParser) -> None:
    """`show` takes none."""


def sizes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--speedup", type=positive(float), default=2.0, metavar="FACTOR", help="over all of data/backbone; default: 2"
    )
    parser.add_argument("--again", action="store_true", help="measure again what was measured on this machine")


def sweep(parser: ArgumentParser) -> None:
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS), metavar="HEAD", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE[,VALUE...]",
        help="another parameter, as in `dvc exp run`, with each of its values; repeatable",
    )
