"""A report as one HTML page, which loads nothing from elsewhere. Needs jinja2 (the extra ``report``)."""

from __future__ import annotations

import re

from plansguard.core.report import Report
from plansguard.render import Screen

#: The first and the last line of a page, by which `is_report` recognises it.
BEGINS = re.compile(rb"<!DOCTYPE html>\n<!-- plansguard -->\n")
ENDS = re.compile(rb"</html>\n<!-- plansguard -->\n\Z")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render the report without figures."""
    from plansguard.render.html.page import report_page

    return report_page(report)
