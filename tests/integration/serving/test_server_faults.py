"""A server that hangs, that is asked for ten times what it carries at rest, whose callers no longer wait.

The figures, with the full minute, are made by `make bench-reliability`; here the same scenarios run for
seconds, and nothing is said of how long an answer took.
"""

import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest

from benchmarks.reliability import scenarios
from benchmarks.reliability.server_process import server_process
from benchmarks.reliability.tiny_release import MODEL, tiny_request, write_tiny
from serving.client import NoAnswerError, Recommender
from serving.fallback import PopularItems, popular_of_home
from serving.protocol import predict_pb2, prediction_service_pb2_grpc
from serving.releases.labels import Served, write_served
from tastemaker.steps import write_atomically

pytestmark = pytest.mark.integration


def test_ten_times_the_load_is_refused_in_words_and_nothing_is_answered_wrong(tmp_path: Path):
    found = scenarios.overload(tmp_path / "tiny", seconds=3, rest_seconds=2)
    assert found.admitted > 0
    assert found.refused > found.admitted
    assert (found.other, found.wrong) == (0, 0)


def test_a_server_that_hangs_costs_flagged_answers_no_errors_and_no_storm(tmp_path: Path):
    found = scenarios.hang(tmp_path / "tiny", seconds=3)
    assert found.raised == 0
    assert found.degraded == found.asked
    # 4 clients and 5 failures until the circuit opens, a probe every 2 s, and second tries by the tenth.
    assert found.sent_to_server < 30 < found.asked


def test_a_request_whose_deadline_passes_in_the_queue_is_never_run(tmp_path: Path):
    folder = tmp_path / "tiny"
    write_tiny(folder, 1)
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ["--max_running_requests=1", f"--monitoring_config_file={monitoring}"]
    with server_process(folder, MODEL, tmp_path / "log", *flags) as server:
        server.wait_for(1)
        with grpc.insecure_channel(server.address) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            long = predict.future(predict_pb2.PredictRequest.FromString(tiny_request(60_000)), timeout=120)
            late = predict_pb2.PredictRequest.FromString(tiny_request(1))
            for _ in range(3):
                with pytest.raises(grpc.RpcError) as caught:
                    predict(late, timeout=0.2)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert not long.done()
            gone = predict.future(late, timeout=60)
            gone.cancel()
            assert long.result().model_spec.version.value == 1
            predict(late, timeout=60)
        url = f"http://{server.rest_address}/monitoring/prometheus/metrics"
        page = urllib.request.urlopen(url, timeout=10).read().decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if "requests_total{" in line)
    counts = {name: int(count) for name, _, count in lines}
    version = 'model="tiny",version="1",signature="serving_default"'
    assert counts[f'tastemaker_serving_requests_total{{{version},status="OK"}}'] == 2
    unseen = 'model="tiny",version="",signature=""'
    assert counts[f'tastemaker_serving_requests_total{{{unseen},status="DEADLINE_EXCEEDED"}}'] == 3


def test_without_a_server_the_stable_releases_popular_items_come_flagged(home):
    for version, items in ((7, ["a", "b", "c"]), (8, ["x"])):
        folder = home.models / "recommender" / str(version)
        folder.mkdir(parents=True)
        manifest = f'{{"release": "r{version}", "files": {{}}, "items": {{"popular": {items}}}}}'
        write_atomically(folder / "manifest.json", manifest.replace("'", '"'))
    fallback = popular_of_home(home)
    with Recommender("127.0.0.1:1", lambda _u, _a: {}, deadline_seconds=5, fallback=fallback) as recommender:
        with pytest.raises(NoAnswerError, match="No model server answers"):
            recommender.recommend("anybody")
        write_served(home, Served({"stable": 7}))
        found = recommender.recommend("anybody", k=2, exclude=["a"])
    assert [(one.rank, one.item_id, one.release) for one in found] == [(1, "b", "r7"), (2, "c", "r7")]
    assert all("No model server answers" in one.degraded and np.isnan(one.probability) for one in found)
    assert fallback(8) == PopularItems("r8", ("x",))
    assert fallback(99) == PopularItems("r7", ("a", "b", "c"))
