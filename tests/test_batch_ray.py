"""`ddrep batch --ray`: a real cluster of three nodes, of which one dies in the middle of a job."""

import json
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra [ray]")
from ray.cluster_utils import Cluster as LocalCluster

from ddrep_core.batch.batch import run_batch
from ddrep_core.batch.cluster import Cluster
from ddrep_core.batch.plan import plan_jobs
from ddrep_core.batch.run import Order
from ddrep_core.batch.state import State
from ddrep_core.batch.table import Row
from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import JobFolder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def three_nodes(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    cluster = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_node_that_dies_costs_no_job(tmp_path, three_nodes):
    cluster, nodes = three_nodes
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    small = {"task": "image", "width": 16, "height": 16, "steps": 8, "prompt": "a duck"}
    rows = [Row(str(n), {**small, "seed": n, "name": f"n{n}"}) for n in range(2)]
    jobs = plan_jobs(rows, tmp_path)
    killed, begun = [], []

    def hear(order, worker, event):
        if event["event"] == "started":
            begun.append(order.name)
        if event["event"] == "step" and event["index"] == 2 and not killed:
            lines = JobFolder(order.folder).events_file.read_text().splitlines()
            started = [each for line in lines if (each := json.loads(line))["event"] == "started"]
            node = raylets[parent_of(started[-1]["pid"])]
            cluster.remove_node(node, allow_graceful=False)
            os.kill(started[-1]["pid"], signal.SIGKILL)
            killed.append(order.name)

    for job in jobs:
        job.write(tmp_path / "out")
    Cluster([Order(job.name, tmp_path / "out" / job.name) for job in jobs], cluster.address).run(hear)
    assert killed and begun.count(killed[0]) == 2
    summary = run_batch(jobs, tmp_path / "out", cluster.address)
    assert summary.count(State.DONE) == 2


def test_no_cluster_is_told_in_words(tmp_path):
    with pytest.raises(RequestError, match="no Ray cluster"):
        Cluster([Order("a", tmp_path)], "127.0.0.1:1").run(lambda *_: None)
