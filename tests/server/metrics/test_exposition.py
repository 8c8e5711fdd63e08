"""The text that Prometheus reads, read back with its official parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from lqhq.server.metrics.exposition import Family, exposition
from lqhq.server.metrics.tally import Histogram


def test_names_labels_and_numbers() -> None:
    counter = Family("nv_x", "counter", "Back\\slash,\nnext line")
    counter.add(2**60 + 1, {"model": 'a"b\\c\nd', "version": "1"})
    gauge = Family("g", "gauge", "A gauge")
    gauge.add(0.1 + 0.2)
    empty = Family("none_total", "counter", "Nothing yet")
    page = exposition([counter, gauge, empty]).decode()
    assert page == (
        "# HELP nv_x Back\\\\slash,\\nnext line\n# TYPE nv_x counter\n"
        'nv_x{model="a\\"b\\\\c\\nd",version="1"} 1152921504606846977\n'
        "# HELP g A gauge\n# TYPE g gauge\ng 0.30000000000000004\n"
        "# HELP none_total Nothing yet\n# TYPE none_total counter\n"
    )
    read = {family.name: family for family in text_string_to_metric_families(page)}
    assert read["nv_x"].samples[0].labels == {"model": 'a"b\\c\nd', "version": "1"}
    assert (read["nv_x"].type, read["g"].type) == ("counter", "gauge")


def test_histograms() -> None:
    family = Family("seconds", "histogram", "Seconds")
    family.add_histogram(Histogram((0.5, 1.0), (1, 3), 4, 9.5), {"model": "m"})
    (read,) = text_string_to_metric_families(exposition([family]).decode())
    assert read.type == "histogram"
    told = [(sample.name, sample.labels.get("le"), sample.value) for sample in read.samples]
    assert told == [
        ("seconds_bucket", "0.5", 1),
        ("seconds_bucket", "1.0", 3),
        ("seconds_bucket", "+Inf", 4),
        ("seconds_sum", None, 9.5),
        ("seconds_count", None, 4),
    ]
