"""docs/metrics.md lists what is declared; names and labels keep the rules of Prometheus and of ours."""

from __future__ import annotations

from tests.support.metric_table import declared, rows_on_page, table

FIGURES_OF_STORES = ("outlast_queue_", "outlast_jobs_ended_", "outlast_store_up", "outlast_sample_")


def test_the_page_lists_each_metric_as_it_is_declared() -> None:
    assert rows_on_page() == table(declared()), "write it anew: .venv/bin/python -m tests.support.metric_table"


def test_each_name_is_declared_once() -> None:
    names = [each.name for each in declared()]
    assert len(names) == len(set(names))
    assert len(names) >= 15


def test_no_label_names_a_process_or_a_host() -> None:
    forbidden = {"host", "hostname", "pid", "holder", "worker", "instance", "job", "id"}
    assert {each.name for each in declared() if set(each.labels) & forbidden} == set()


def test_figures_of_stores_are_merged_by_the_largest() -> None:
    of_stores = [each for each in declared() if each.name.startswith(FIGURES_OF_STORES)]
    assert len(of_stores) >= 10
    assert {each.merging for each in of_stores} == {"max"}
    assert all(each.labels[0] == "app" for each in of_stores)


def test_each_has_a_help_that_fits_into_the_table() -> None:
    assert [each.name for each in declared() if not each.help or set(each.help) & set("\n|")] == []
