"""The ordered map over processes."""

from cosal_d2.utils.parallel import ordered_map


def test_tasks_are_taken_as_they_are_needed():
    taken = []

    def tasks():
        for i in range(200):
            taken.append(i)
            yield i

    results = ordered_map(abs, tasks(), workers=2, chunk=2)
    assert next(results) == 0
    assert len(taken) < 40
    assert list(results) == list(range(1, 200))
