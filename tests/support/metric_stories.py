"""Series of one worker over time, for stories that promtool plays to the rules."""

from __future__ import annotations

from tests.support.promtool import ramp, steps

__all__ = ["worker"]

_MAIL = 'app="shop",queue="mail"'
_HOWS = ("clean", "recycled", "crashed", "killed", "stalled")


def worker(samples: int, instance: str = "a:9464", **changed: str) -> dict[str, str]:
    """Return what a healthy worker shows for so many samples. changed: samples of a series, by the names below."""
    usual = {
        "up": f"outlast_store_up{{app='shop',instance='{instance}'}}",
        "ready": f"outlast_queue_jobs{{{_MAIL},state='ready',instance='{instance}'}}",
        "running": f"outlast_queue_jobs{{{_MAIL},state='running',instance='{instance}'}}",
        "oldest": f"outlast_queue_oldest_seconds{{{_MAIL},instance='{instance}'}}",
        "objective": f"outlast_queue_objective_seconds{{{_MAIL},instance='{instance}'}}",
        "paused": f"outlast_queue_paused{{{_MAIL},instance='{instance}'}}",
        "consumers": f"outlast_queue_consumers{{{_MAIL},instance='{instance}'}}",
        "held_dead": f"outlast_queue_dead{{{_MAIL},instance='{instance}'}}",
        "succeeded": f"outlast_jobs_ended_total{{{_MAIL},kind='send',outcome='succeeded',instance='{instance}'}}",
        "dead": f"outlast_jobs_ended_total{{{_MAIL},kind='send',outcome='dead',instance='{instance}'}}",
        "dead_other": f"outlast_jobs_ended_total{{{_MAIL},kind='other',outcome='dead',instance='{instance}'}}",
        "retries": f"outlast_retries_total{{{_MAIL},instance='{instance}'}}",
        "lapsed": f"outlast_lapsed_leases_total{{app='shop',instance='{instance}'}}",
        "open": f"outlast_guard_open{{guard='payments',instance='{instance}'}}",
        "refused": f"outlast_guard_calls_total{{guard='payments',outcome='open',instance='{instance}'}}",
        "used": f"outlast_store_used_bytes{{app='shop',instance='{instance}'}}",
        "limit": f"outlast_store_limit_bytes{{app='shop',instance='{instance}'}}",
        "silent": f"outlast_worker_processes{{app='shop',state='silent',instance='{instance}'}}",
        **{how: f"outlast_worker_exits_total{{app='shop',how='{how}',instance='{instance}'}}" for how in _HOWS},
    }
    values = {"up": 1, "objective": 60, "consumers": 2, "running": 1, "used": 100, "limit": 1000}
    shown = {name: steps(f"{values.get(name, 0)}*{samples}") for name in usual}
    shown["succeeded"] = ramp(1000, 50, samples)
    shown |= {name: steps(text) if "*" in text else text for name, text in changed.items() if text != "none"}
    return {series: shown[name] for name, series in usual.items() if changed.get(name) != "none"}
