"""Each kind of trouble of ``make chaos``, tried once."""

import random
import signal

import pytest
from chaos import full_disk, soak
from chaos import fuzz as fuzzing
from chaos.dead_rank import dead_ranks
from chaos.fuzz import fuzz_reader, read_once
from chaos.kills import kills
from chaos.outcome import Budget
from chaos.readers import READERS, Reader


@pytest.mark.parametrize("name", READERS)
def test_a_reader_survives_damaged_files(tmp_path, name):
    tried, faults = fuzz_reader(READERS[name], Budget(0, 4, 60), tmp_path, workers=1)
    assert tried == 4 and faults == []


@pytest.mark.parametrize(
    "name", [n for n in READERS if not n.endswith(("map reader", "mask reader"))]
)
def test_a_reader_reads_sound_files(tmp_path, name):
    READERS[name].write(tmp_path)
    READERS[name].read(tmp_path)


def read_line(path):
    """Has a fault for each damage but one."""
    words = (path / "a.txt").read_text()
    if "crash" in words:
        signal.raise_signal(signal.SIGSEGV)
    if "hang" in words:
        signal.pause()
    if "wrong" in words:
        raise TypeError("it is wrong")
    if "nameless" in words:
        raise ValueError("something is wrong")
    raise ValueError("a.txt is wrong")


FAULTS = ("crash", "hang", "wrong", "nameless", "named")


def write_line(root):
    (root / "a.txt").write_text("sound")


def break_line(root, rng):
    (root / "a.txt").write_text(FAULTS[rng.randrange(5)])


def test_crashes_hangs_and_unknown_errors_are_found_with_their_input(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "LONGEST", 2)
    reader = Reader(write_line, break_line, read_line)
    tried, faults = fuzz_reader(reader, Budget(5, 12, 100), tmp_path, workers=2)
    drawn = {f"5 {i}": FAULTS[random.Random(f"5 {i}").randrange(5)] for i in range(12)}
    said = {
        "crash": "ends with status -11",
        "hang": "takes more than 2 s",
        "wrong": "TypeError: it is wrong",
        "nameless": "names no file: ValueError: something is wrong",
    }
    assert set(drawn.values()) == set(FAULTS) and tried == 12
    assert dict(faults).keys() == {seed for seed, fault in drawn.items() if fault in said}
    assert all(said[drawn[seed]] in fault for seed, fault in faults)


@pytest.mark.parametrize("name", READERS)
def test_a_seed_makes_its_input_again(tmp_path, name):
    contents = []
    for turn in "ab":
        sound, damaged = tmp_path / turn / "sound", tmp_path / "damaged"
        sound.mkdir(parents=True)
        READERS[name].write(sound)
        read_once(READERS[name], "0 3", sound, damaged)
        files = sorted(p for p in damaged.rglob("*") if p.is_file() and "out" not in p.parts)
        contents.append([(p, p.read_bytes()) for p in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("kind", [kills, dead_ranks])
def test_a_training_survives(tmp_path, kind):
    outcome = kind(Budget(0, 1, 120), tmp_path)
    assert outcome.tried == 1 and outcome.lost == []


def test_a_dataset_survives_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(full_disk, "JOBS", {"COCO": full_disk.JOBS["COCO conversion"]})
    outcome = full_disk.full_disks(Budget(0, 2, 120), tmp_path)
    assert outcome.tried == 2 and outcome.lost == []


def test_long_runs_are_watched(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "LOOKS", 1)
    outcome = soak.soak(Budget(0, 1, 120), tmp_path)
    assert outcome.tried == 2 and not any("ended by itself" in lost for lost in outcome.lost)
    assert all(" 0 handles" not in note for note in outcome.notes)


def test_what_grew_is_lost():
    held = soak.Held(100 * soak.MEGABYTE, 9, 4)
    assert soak._grown(held, soak.Held(170 * soak.MEGABYTE, 9, 4)) == ""
    assert "memory grew: 100 MB" in soak._grown(held, soak.Held(180 * soak.MEGABYTE, 9, 4))
    assert "4 threads; 100 MB, 9 handles, 5 threads" in soak._grown(
        held, soak.Held(100 * soak.MEGABYTE, 9, 5)
    )
