"""What the project's HTML pages have in common: a look, `page.html.j2`, and how figures are written."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from model_patching.components.subgroup_report import text


def page_environment(folder: Path) -> Environment:
    """Where templates are rendered that extend `page.html.j2`.

    Args:
        folder: of the templates.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": text.percent,
        "points": text.points,
        "missed_by": text.missed_by,
        "interval": text.interval,
        "bounds": text.bounds,
        "error": text.error,
        "seconds": text.seconds,
    }
    return environment
