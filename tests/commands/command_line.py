"""Command lines as `span-distill` reads them."""

from pipeline.__main__ import parser


def options(name, *arguments):
    """The arguments of a command's `main` for its command line."""
    values = vars(parser().parse_args([name, *map(str, arguments)]))
    assert values.pop("name") == name
    return values
