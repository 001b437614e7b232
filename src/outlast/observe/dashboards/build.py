"""Makes the files of the package for other tools: `make observe`, or python -m outlast.observe.dashboards.build.

The JSON of the dashboards is made with Grafana's own library, `grafana-foundation-sdk`. That is installed for
development only: the package has the files.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models

from outlast.observe.dashboards import DASHBOARDS
from outlast.observe.dashboards.values import Chart, Chosen, Dashboard
from outlast.observe.rules import RULES, rules_text

__all__ = ["dashboard_text", "made"]

_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The variable of the dashboard: a fixed id of a data source would be another one in each Grafana."""
_WIDTH: Final = 24
_NUMBER: Final = (4, 4)
"""Width and height of a panel with one number; the grid has 24 columns."""
_GRAPH: Final = (8, 8)


def made() -> dict[str, str]:
    """Return the files that the package must have of rules and dashboards, by their names."""
    return {RULES: rules_text(), **{f"grafana/{each.name}.json": dashboard_text(each) for each in DASHBOARDS}}


def dashboard_text(board: Dashboard) -> str:
    """Return the JSON of a dashboard. It has no uid: Grafana gives it one when it is imported."""
    builder = (
        dashboard.Dashboard(board.title)
        .description(board.about)
        .tags(["outlast"])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("Outlast")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["outlast"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for chosen in board.chosen:
        builder.with_variable(_variable(chosen))
    y, numbers = 0, count(1)
    for title, charts in board.rows:
        builder.with_row(dashboard.Row(title).id(next(numbers)).grid_pos(models.GridPos(x=0, y=y, w=_WIDTH, h=1)))
        x, y, below = 0, y + 1, y + 1
        for chart in charts:
            width, height = _NUMBER if chart.form == "number" else _GRAPH
            if x + width > _WIDTH:
                x, y = 0, below
            builder.with_panel(_panel(chart, next(numbers), models.GridPos(x=x, y=y, w=width, h=height)))
            x, below = x + width, max(below, y + height)
        y = below
    return json.dumps(builder.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _variable(chosen: Chosen) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(chosen.label)
        .label(chosen.label.capitalize())
        .datasource(_SOURCE)
        .query(f"label_values({chosen.expr}, {chosen.label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(chart: Chart, number: int, place: models.GridPos) -> Builder[models.Panel]:
    if chart.form == "number":
        single = stat.Panel().color_mode(looks.BigValueColorMode.VALUE).graph_mode(looks.BigValueGraphMode.AREA)
        single.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        single.thresholds(_thresholds(chart.bad))
        return _filled(single.id(number), chart, place)
    graph = timeseries.Panel().fill_opacity(20 if chart.form == "areas" else 0).show_points(looks.VisibilityMode.NEVER)
    graph.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    graph.min(0).legend(common.VizLegendOptions().show_legend(True).display_mode(looks.LegendDisplayMode.LIST))
    if chart.form == "areas":
        graph.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    return _filled(graph.id(number), chart, place)


def _filled(panel: stat.Panel | timeseries.Panel, chart: Chart, place: models.GridPos) -> Builder[models.Panel]:
    panel.title(chart.title).description(chart.about).datasource(_SOURCE).unit(chart.unit).grid_pos(place)
    for number, query in enumerate(chart.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + number))
        panel.with_target(target.range().datasource(_SOURCE))
    return panel


def _thresholds(bad: float | None) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if bad is not None:
        steps.append(models.Threshold(value=bad, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


if __name__ == "__main__":
    for name, text in made().items():
        file = Path(__file__).parents[1] / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
