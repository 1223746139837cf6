"""Many pictures: what overlaps, and what goes wrong."""

import json
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from prediction_data import StandIn, annotated, rows, write_pictures

from cosal_d2.inference.pipeline import predict_pictures
from cosal_d2.inference.saving import ResultWriter, Saved
from cosal_d2.inference.sources import find_pictures
from cosal_d2.utils.pictures import read_image

SAVE = ("map", "objects", "json", "csv")
TESTS = Path(__file__).resolve().parents[1]


def predict(predictor, folder, output, *, save=SAVE, keep=False, writer=ResultWriter, **options):
    """As `cosal predict` does it; gives the failures."""
    sources = find_pictures([str(folder)], str(output)).pictures
    with writer(output, save, keep=keep) as results:
        todo = [source for source in sources if not (keep and results.done(source))]
        return predict_pictures(predictor, todo, results, **options)


@pytest.mark.parametrize(("batch", "batches"), [(1, [1] * 5), (2, [2, 2, 1]), (8, [5])])
def test_pictures_are_predicted_in_batches_and_written_in_their_order(tmp_path, batch, batches):
    folder = write_pictures(tmp_path / "in", 7, broken=(0, 4))
    predictor = StandIn()
    failed = predict(predictor, folder, tmp_path / "out", batch=batch)
    assert predictor.batches == batches and predictor.like == [None] * len(batches)
    names = [f"{i:02d}.png" for i in (1, 2, 3, 5, 6)]
    assert [row["name"] for row in rows(tmp_path / "out")] == names
    assert annotated(tmp_path / "out") == dict.fromkeys(names, 5)
    assert [f"{tmp_path}/in/{i}.png" in text for i, text in zip(("00", "04"), failed, strict=True)]
    assert all("cannot read" in text for text in failed)


def test_the_exemplars_box_and_the_windows_are_those_of_each_picture(tmp_path):
    predictor = StandIn()
    box = (1.0, 2.0, 9.0, 8.0)
    folder = write_pictures(tmp_path / "in", 3)
    assert predict(predictor, folder, tmp_path / "out", batch=2, like=box, tiles=3) == []
    assert predictor.like == [[box, box], [box]] and predictor.tiles == [3, 3]


def test_a_failing_batch_is_tried_one_by_one(tmp_path, capsys):
    class Picky(StandIn):
        """It holds memory, which must be free again before it is asked for more."""

        memories = []

        def batch(self, images, *options):
            if any(memory() is not None for memory in self.memories):
                raise MemoryError
            memory = StandIn()
            self.memories.append(weakref.ref(memory))
            found = super().batch(images, *options)
            if any(np.array_equal(image, self.refused) for image in images):
                raise RuntimeError("CUDA out of memory")
            return found

    folder = write_pictures(tmp_path / "in", 5)
    predictor = Picky()
    predictor.refused = read_image(folder / "01.png")
    (text,) = predict(predictor, folder, tmp_path / "out", batch=3)
    assert text == f"{folder}/01.png: RuntimeError: CUDA out of memory"
    assert predictor.batches == [3, 1, 1, 1, 2]
    assert text in capsys.readouterr().err
    assert len(rows(tmp_path / "out")) == 4


def test_one_result_that_cannot_be_written_is_a_failure_of_its_picture(tmp_path):
    folder = write_pictures(tmp_path / "in", 3)
    (tmp_path / "out" / "01_map.png").mkdir(parents=True)
    (text,) = predict(StandIn(), folder, tmp_path / "out")
    assert text.startswith(f"{folder}/01.png: ") and "out/01_map.png" in text
    assert len(rows(tmp_path / "out")) == 3


def test_a_disk_that_is_full_ends_the_run_with_one_error(tmp_path, capsys):
    class Full(ResultWriter):
        room = 2

        def write(self, source, result):
            self.room -= 1
            if self.room < 0:
                return Saved([], [f"{source.name}: No space left on device"])
            return super().write(source, result)

        def require_room(self):
            if self.room < 0:
                raise OSError("out cannot be written to")

    folder = write_pictures(tmp_path / "in", 20)
    predictor = StandIn()
    with pytest.raises(OSError, match="out cannot be written to"):
        predict(predictor, folder, tmp_path / "out", writer=Full)
    assert len(predictor.batches) < 12 and len(annotated(tmp_path / "out")) == 2
    assert "failed" not in capsys.readouterr().err


def test_the_network_works_on_while_results_are_saved_but_not_without_bound(tmp_path):
    """The first picture is saved only once the network has done the second; then saving rests until
    the network has to wait."""
    predictor = StandIn()
    second, waiting = threading.Event(), threading.Event()
    done = []

    class Slow(ResultWriter):
        def write(self, source, result):
            if source.name == "00.png":
                done.append(second.wait(20))
                waiting.wait(1)  # long enough for a network that nothing holds
                done.append(len(predictor.batches))
            return super().write(source, result)

    original = predictor.batch

    def batch(images, *options):
        found = original(images, *options)
        if len(predictor.batches) == 2:
            second.set()
        return found

    predictor.batch = batch
    folder = write_pictures(tmp_path / "in", 30)
    assert predict(predictor, folder, tmp_path / "out", writer=Slow) == []
    assert done[0] and 2 <= done[1] <= 10


class Interrupted(StandIn):
    """Ctrl-C after some pictures."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def batch(self, images, *options):
        if len(self.batches) == self.after:
            raise KeyboardInterrupt
        return super().batch(images, *options)


def check_complete(output, save=SAVE):
    names = [f"{i:02d}" for i in range(30) if i not in (3, 14, 29)]
    assert sorted(p.name for p in output.glob("*_map.png")) == [f"{n}_map.png" for n in names]
    assert len(list(output.glob("*_object_*.png"))) == 5 * len(names)
    assert sorted(row["name"] for row in rows(output)) == [f"{n}.png" for n in names]
    assert annotated(output) == dict.fromkeys((f"{n}.png" for n in names), 5)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    folder = write_pictures(tmp_path / "in", 30, broken=(3, 14, 29))
    with pytest.raises(KeyboardInterrupt):
        predict(Interrupted(after=15), folder, tmp_path / "out")
    half = annotated(tmp_path / "out")
    assert 8 <= len(half) <= 15
    predictor = StandIn()
    assert len(predict(predictor, folder, tmp_path / "out", keep=True)) == 3
    assert sum(predictor.batches) == 27 - len(half)
    check_complete(tmp_path / "out")
    assert len(predict(predictor, folder, tmp_path / "out", keep=True)) == 3
    assert sum(predictor.batches) == 27 - len(half)  # nothing new
    check_complete(tmp_path / "out")


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[3:]
from prediction_data import StandIn
from test_pipeline import predict

class Killed(StandIn):
    def batch(self, images, *options):
        if len(self.batches) == 15:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(images, *options)

predict(Killed(), *sys.argv[1:3])
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    folder = write_pictures(tmp_path / "in", 30, broken=(3, 14, 29))
    output = tmp_path / "out"
    code = [sys.executable, "-c", KILLED, folder, output, TESTS, TESTS / "inference"]
    run = subprocess.run(list(map(str, code)), capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert not (output / "objects.json").exists()
    records = (output / "objects.jsonl").read_text().splitlines()[1:]
    half = [json.loads(record)["image"]["file_name"] for record in records]
    assert 8 <= len(half) <= 15
    predictor = StandIn()
    assert len(predict(predictor, folder, output, keep=True)) == 3
    assert sum(predictor.batches) <= 27 - len(half)
    check_complete(output)
